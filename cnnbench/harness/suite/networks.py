"""The graph of a cell, from a registered architecture or from a user's file, and its weights at the start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnbench import registry
from cnnbench.errors import DataError, SpecError
from cnnbench.porting.messages import ReadRequest
from cnnbench.porting.reading import read_model
from cnnbench.porting.references import named_file, parse_reference
from cnnbench.spec.interchange.model_readers import ModelReference
from cnnbench.spec.interchange.once import once_per_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.spec.graph import Graph

PACKAGE, ONNX = "package:", ".onnx"


def network(architecture: str, image: tuple[int, ...] = (), num_classes: int | None = None) -> Graph:
    """The graph that ``architecture`` names.

    Args:
        architecture: A registered name, ``file:PATH`` of a network in YAML or ONNX, or a reference to a user's own
            model: ``file:PATH.py:FUNCTION``, ``MODULE:FUNCTION``, ``file:PATH.pt2``.
        image: (C, *spatial); () for the architecture's own.
        num_classes: None for the architecture's own.

    Raises:
        SpecError: An unknown name, an image that the network cannot take, or options that a file's network has fixed.
    """
    found = _reference(architecture)
    if found is not None:
        if num_classes is not None:
            raise SpecError("num_classes does not apply to a user's own model", where=str(found), received=num_classes)
        return read_model(ReadRequest(reference=found, image=image)).graph
    path = named_file(architecture)
    if path is not None:
        return _from_file(path, image, num_classes)
    return _built(architecture, image, num_classes)


def _reference(architecture: str) -> ModelReference | None:
    """The user's own model that a name refers to, None where it is none."""
    return parse_reference(architecture) if ":" in architecture else None


def _onnx(architecture: str) -> Path | None:
    path = named_file(architecture)
    return path if path is not None and path.suffix.lower() == ONNX else None


@cache
def _built(architecture: str, image: tuple[int, ...], num_classes: int | None) -> Graph:
    return registry.build(architecture, image=image or None, num_classes=num_classes)


@once_per_file
def _from_file(path: Path, image: tuple[int, ...], num_classes: int | None) -> Graph:
    from cnnbench.registry import plugin_manager

    plugin_manager()  # the file may hold kinds of plugins
    if num_classes is not None:
        raise SpecError("num_classes does not apply to a network from a file", where=str(path), received=num_classes)
    if path.suffix.lower() == ONNX:
        from cnnbench.spec.interchange.onnx_import import load_network as load_onnx

        return load_onnx(path, image)
    from cnnbench.spec.interchange.yaml_network import load_network

    registry.plugin_manager()  # a file may name layer kinds of plugins
    graph = load_network(path)
    own = graph.inputs[0].shape
    if image and image != own:
        raise SpecError(
            "the network states its own image shape", where=str(path), received=list(image), expected=list(own)
        )
    return graph


class PackageFile(NamedTuple):
    """A file that an installed package brings along, as a suite names it: ``package:MODULE/PATH``."""

    module: str
    inside: str

    @staticmethod
    def read(name: str) -> PackageFile | None:
        """The file that a name means; None for a path."""
        if not name.startswith(PACKAGE):
            return None
        module, _, inside = name.removeprefix(PACKAGE).partition("/")
        return PackageFile(module, inside)

    @property
    def stays(self) -> bool:
        """Whether it lies within the package."""
        parts = self.inside != "" and not self.inside.startswith("/") and ".." not in Path(self.inside).parts
        return parts and self.module.isidentifier()


def weights_file(name: str) -> Path | None:
    """The file that ``weights`` of a suite names: a path, or ``package:MODULE/PATH``; None where it is not here."""
    path: Path | None = Path(name)
    packaged = PackageFile.read(name)
    if packaged is not None:
        from importlib.util import find_spec

        found = find_spec(packaged.module) if packaged.module.isidentifier() else None
        folder = next(iter(found.submodule_search_locations or ()), None) if found else None
        path = None if folder is None else Path(folder, packaged.inside)
    return path if path is not None and path.is_file() else None


def given_arrays(
    architecture: str, graph: Graph, image: tuple[int, ...] = (), weights: str | None = None
) -> Mapping[str, NDArray[Any]] | None:
    """The weights and running statistics of the file ``weights``, else those that an ONNX file holds, else None.

    Args:
        architecture: As in ``network``.
        graph: That network.
        image: As in ``network``.
        weights: As ``weights_file`` takes it; of any format that there is a reader for.

    Raises:
        DataError: The file does not exist, or does not fit the network.
    """
    if weights is not None:
        from cnnbench.spec.interchange.weight_files import match

        path = weights_file(weights)
        if path is None:
            raise DataError("the file of weights is not here", where=weights)
        return match(graph, registry.read_weights(path), where=str(path))
    found = _reference(architecture)
    if found is not None:
        return read_model(ReadRequest(reference=found, image=image)).arrays
    path = _onnx(architecture)
    if path is None:
        return None
    from cnnbench.spec.interchange.onnx_import import load_arrays

    return load_arrays(path, image)


def graph_digest(architecture: str, image: tuple[int, ...] = (), num_classes: int | None = None) -> str:
    """Digest of the graph that ``network`` gives for the same arguments. Raises as that does.

    Args:
        architecture: As in ``network``.
        image: As in ``network``.
        num_classes: As in ``network``.
    """
    return network(architecture, image, num_classes).digest


def weights_digest(architecture: str, image: tuple[int, ...] = (), weights: str | None = None) -> str | None:
    """Digest of the weights that a cell's files hold; None for seeded weights, and where the file is not here.

    Args:
        architecture: A registered name, or ``file:PATH``.
        image: (C, *spatial); () for the architecture's own.
        weights: The file of trained weights, as ``weights_file`` takes it.
    """
    if weights is not None:
        path = weights_file(weights)
        return None if path is None else _digest_of_file(path)
    found = _reference(architecture)
    if found is not None:
        from cnnbench.spec.weights import digest

        return digest(read_model(ReadRequest(reference=found, image=image)).arrays)
    path = _onnx(architecture)
    return None if path is None else _digest_of_model(path, image)


@once_per_file
def _digest_of_file(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@once_per_file
def _digest_of_model(path: Path, image: tuple[int, ...]) -> str:
    from cnnbench.spec.interchange.onnx_import import load_arrays
    from cnnbench.spec.weights import digest

    return digest(load_arrays(path, image))


def default_image(architecture: str) -> tuple[int, ...]:
    """The image shape (C, *spatial) that an architecture has of its own. Raises SpecError."""
    if named_file(architecture) is not None or _reference(architecture) is not None:
        first = network(architecture).inputs[0]
        return first.shape if first.batched else first.shape[1:]
    return registry.architecture(architecture).facts.input


def fixed_batch(architecture: str, image: tuple[int, ...] = ()) -> int | None:
    """The only batch size of an ONNX file whose batch cannot be opened; None for networks that take any.

    Args:
        architecture: As in ``network``.
        image: As in ``network``.
    """
    if _onnx(architecture) is None:
        return None
    inputs = network(architecture, image).inputs
    return None if any(item.batched for item in inputs) else next(iter(inputs[0].shape), 1)
