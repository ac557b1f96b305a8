"""Networks and their weights: ``build`` gives the structure, ``load`` the structure with its arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

Image: TypeAlias = "Sequence[int] | int | None"
"""(C, *spatial) of one image, or its side (with the network's own channels); None for the network's own."""

SUFFIXES = (".yaml", ".yml", ".onnx")


@dataclass(frozen=True)
class Model:
    """A network with its weights.

    Args:
        graph: The network.
        arrays: Weights and running statistics, by ``<node>.<weight>``, in the canonical layouts (convolution OIHW,
            linear [out, in]).
    """

    graph: Graph
    arrays: Mapping[str, NDArray[Any]]

    def save(self, path: Path | str) -> None:
        """Writes the arrays as a safetensors file, which ``load`` and ``cnnbench predict --weights`` read."""
        from cnnbench.spec.weights import save

        save(self.arrays, Path(path))


Network: TypeAlias = "str | Path | Graph | Model"
"""A registered name, the path of a YAML or ONNX file, a reference to a user's own model, a graph, or a model."""


def build(network: str | Path, image: Image = None, num_classes: int | None = None) -> Graph:
    """A network's graph.

    Args:
        network: A registered name (``resnet50``), the path of a network in YAML or ONNX, or a reference to a model of
            the user's own: ``file.py:function``, ``package.module:function``, ``.pt2``, ``.keras``.
        image: The shape of one image.
        num_classes: None for the network's own.

    Raises:
        SpecError: An unknown name, or an image that the network cannot take.
        DataError: The file does not exist, or is not valid.
    """
    from cnnbench.harness.suite.networks import network as find

    name = network_name(network)
    return find(name, shape_of(name, image), num_classes)


def load(
    network: Network,
    weights: Path | str | Mapping[str, NDArray[Any]] | None = None,
    *,
    seed: int = 0,
    image: Image = None,
    num_classes: int | None = None,
) -> Model:
    """A network with its weights.

    Args:
        network: As ``build`` takes it, or a graph; a model is given back as it is where ``weights`` is None.
        weights: Arrays by canonical name, or a file of any format that ``cnnbench weights import`` reads. None for
            those that an ONNX file or a user's own model holds, and for other networks those that the seed draws.
        seed: Of drawn weights.
        image: As in ``build``.
        num_classes: As in ``build``.

    Raises:
        SpecError: As ``build``; an image or classes for a graph, which has its own.
        DataError: The weights do not exist, or do not fit the network.
    """
    from cnnbench.spec.weights import initialize

    graph, arrays = _found(network, weights, image, num_classes)
    if isinstance(network, Model) and weights is None:
        return network
    return Model(graph, initialize(graph, seed) if arrays is None else arrays)


def load_examined(
    network: Network,
    weights: Path | str | Mapping[str, NDArray[Any]] | None = None,
    *,
    seed: int = 0,
    image: Image = None,
    num_classes: int | None = None,
) -> Model:
    """A network with the weights on which it is checked: as ``load``, but drawn ones are in general position.

    Args:
        network: As in ``load``.
        weights: As in ``load``.
        seed: As in ``load``.
        image: As in ``load``.
        num_classes: As in ``load``.

    Raises:
        SpecError, DataError: As ``load``.
    """
    from cnnbench.spec.weights import general_position

    graph, arrays = _found(network, weights, image, num_classes)
    return Model(graph, general_position(graph, seed) if arrays is None else arrays)


def _found(
    network: Network, weights: Path | str | Mapping[str, NDArray[Any]] | None, image: Image, num_classes: int | None
) -> tuple[Graph, Mapping[str, NDArray[Any]] | None]:
    """The graph, and its arrays where they are not to be drawn."""
    from cnnbench.spec.weights import check_fits

    if isinstance(network, Graph | Model):
        if image is not None or num_classes is not None:
            raise SpecError("a graph has its own image and classes", where="load", remedy="build it with others")
        graph = network if isinstance(network, Graph) else network.graph
    else:
        graph = build(network, image, num_classes)
    if weights is not None:
        return graph, _given(graph, weights)
    if isinstance(network, Model):
        named = {item.name for item in (*graph.named_weights(), *graph.named_state())}  # others do no harm
        check_fits(graph, {name: item for name, item in network.arrays.items() if name in named}, where="arrays")
        return graph, network.arrays
    if isinstance(network, Graph):
        return graph, None
    from cnnbench.harness.suite.networks import given_arrays

    name = network_name(network)
    return graph, given_arrays(name, graph, shape_of(name, image))


def network_name(network: str | Path) -> str:
    """The name under which suites know a network: the path of a file becomes ``file:PATH``, one of a model too."""
    from cnnbench.porting.references import file_name, is_of_file, named_file

    text = str(network)
    if named_file(text) is not None:
        return text
    return file_name(text) if text.lower().endswith(SUFFIXES) or is_of_file(text) else text


def shape_of(name: str, image: Image) -> tuple[int, ...]:
    """The image shape as the harness takes it: () for the network's own."""
    if image is None:
        return ()
    if not isinstance(image, int):
        return tuple(image)
    from cnnbench.harness.suite.networks import default_image

    own = default_image(name)
    return (own[0], *[image] * (len(own) - 1))


def _given(graph: Graph, weights: Path | str | Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """The arrays that a caller names, checked against the network."""
    from cnnbench.registry import read_weights
    from cnnbench.spec.interchange.weight_files import match
    from cnnbench.spec.weights import check_fits

    if isinstance(weights, Mapping):
        check_fits(graph, weights, where="weights")
        return weights
    path = Path(weights)
    return match(graph, read_weights(path), where=str(path))
