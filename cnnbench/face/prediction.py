"""``predict``: a forward pass of a network in this process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack, cast

from cnnbench.errors import DataError, UnavailableError, did_you_mean
from cnnbench.execution.contract import Layout, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision as find_precision
from cnnbench.face.backends import ChosenBackend, chosen_backend
from cnnbench.face.keywords import PredictKeywords, takes
from cnnbench.face.native import lacks_native, with_own
from cnnbench.face.networks import Model, Network, load
from cnnbench.porting.native import lacks_meaning
from cnnbench.spec.graph import Graph, producer
from cnnbench.spec.weights import split_state

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_NODE = "node "  # before the names of nodes that are asked for; no graph's own output holds a space


@dataclass(frozen=True)
class Prediction:
    """What a forward pass gave, in the canonical layout; float64 under the policy float64, else float32.

    Args:
        network, backend, mode, precision: What ran, and how.
        outputs: By name, the main one first.
        nodes: The outputs of the nodes that were asked for, by name.
    """

    network: str
    backend: str
    mode: str
    precision: str
    outputs: Mapping[str, NDArray[Any]]
    nodes: Mapping[str, NDArray[Any]]

    @property
    def output(self) -> NDArray[Any]:
        """The main output."""
        return next(iter(self.outputs.values()))


@takes(PredictKeywords)
def predict(
    network: Network,
    x: ArrayLike | Mapping[str, ArrayLike],
    *,
    backend: str = "numpy",
    precision: str = "float32",
    nodes: Sequence[str] = (),
    **how: Unpack[PredictKeywords],
) -> Prediction:
    """Runs a network forward.

    Args:
        network: A registered name, the path of a YAML or ONNX file, a graph or a model.
        x: The input (N, C, H, W), which sets the image size of a named network; or arrays by input name.
        backend: ``NAME`` or ``NAME:MODE``; a native mode (``torch:native-eager``) runs a user's own model as it is.
        precision: The policy.
        nodes: Nodes whose outputs are wanted too: ``"conv1"``, ``"split:1"``.
        how: The keywords below.

    Raises:
        DataError: Inputs or weights that do not fit the network.
        SpecError: An unknown network or node.
        UnavailableError, SuiteError: A backend, mode, layout or precision that is not here, or that a native mode
            does not have.
    """
    chosen = chosen_backend(backend, precision, native=True)
    batch = _arrays(x)
    asked = {**how, "image": _image(batch), "network": network}
    _require_program(chosen, asked, nodes)
    model = _model(network, batch, how)
    batch = _named(batch, model.graph)
    layout = how.get("layout", "auto")
    _require_layout(layout, {"auto", *chosen.plugin.layouts})
    options = ProgramOptions(
        mode=chosen.mode,
        precision=find_precision(precision),
        layout=cast(Layout, layout),
        fold_batch_norm=how.get("fold_batch_norm", False),
    )
    graph = _with_nodes(model.graph, nodes)
    options = with_own(options, chosen, model, asked)
    loaded = chosen.load(ProcessSettings(how.get("threads"), how.get("device", "cpu")))
    program = loaded.compile_forward(graph, options)
    program.load(*split_state(graph, model.arrays))
    found = _as_stated(network, _image(batch), dict(program.download(program.run(program.upload(batch))).outputs))
    return Prediction(
        model.graph.name,
        chosen.plugin.name,
        chosen.mode,
        options.precision.name,
        {name: found[name] for name, _ in model.graph.outputs},
        {name: found[f"{_NODE}{name}"] for name in nodes},
    )


def _require_program(chosen: ChosenBackend, asked: Mapping[str, Any], nodes: Sequence[str]) -> None:
    """Raises UnavailableError where a native mode has no such program, or cannot do what is asked."""
    reason = lacks_native(chosen, asked["network"], asked)
    if reason is None and chosen.mode in chosen.plugin.native_modes:
        layout = asked.get("layout", "auto") != "auto"
        reason = lacks_meaning(chosen.mode, {"nodes": nodes, "layout": layout})
    if reason is not None:
        raise UnavailableError(reason, where=chosen.series)


def _arrays(x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """The inputs by name; one without a name has the name ``""``."""
    import numpy as np

    given = dict(x) if isinstance(x, Mapping) else {"": x}
    arrays = {name: np.asarray(value) for name, value in given.items()}
    for name, array in arrays.items():
        hidden = np.ma.is_masked(given[name])
        if array.dtype.kind not in "fiu" or array.ndim == 0 or hidden:
            raise DataError(
                "an input is no array of real numbers with a batch axis",
                where=name or "x",
                received=f"{array.dtype} {array.shape}{', with masked values' if hidden else ''}",
                expected="floats, or integers whose values are taken as they are, of shape (N, C, H, W)",
                remedy=_remedy(array, hidden),
            )
    return arrays


def _remedy(array: NDArray[Any], hidden: bool) -> str:
    if hidden:
        return "fill the masked values: x.filled(0.0)"
    if array.ndim == 0:
        return "give one image as a batch of one: x[None]"
    return {
        "b": "x.astype('float32'), for 0 and 1",
        "c": "x.real, or the parts as two channels",
        "O": "x.astype('float32'); rows of different lengths make an array of objects",
    }.get(array.dtype.kind, "x.astype('float32')")


def _model(network: Network, batch: Mapping[str, NDArray[Any]], how: PredictKeywords) -> Model:
    """The network for the images that are given."""
    weights, seed, num_classes = how.get("weights"), how.get("seed", 0), how.get("num_classes")
    if isinstance(network, Graph | Model):
        return load(network, weights, seed=seed, num_classes=num_classes)
    return load(network, weights, seed=seed, image=_image(batch), num_classes=num_classes)


def _image(batch: Mapping[str, NDArray[Any]]) -> tuple[int, ...] | None:
    """The shape of one image, where one array of images is given."""
    only = next(iter(batch.values())) if len(batch) == 1 else None
    return tuple(only.shape[1:]) if only is not None and only.ndim > 2 else None


def _as_stated(
    network: Network, image: tuple[int, ...] | None, outputs: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The outputs, those of an ONNX file cut to rows where their number depends on the values."""
    if isinstance(network, Graph | Model) or not str(network).lower().endswith(".onnx"):
        return outputs
    from pathlib import Path

    from cnnbench.porting.references import named_file
    from cnnbench.spec.interchange.onnx_import import import_file

    return import_file(named_file(str(network)) or Path(network), image or ()).in_rows(outputs)


def _named(batch: dict[str, NDArray[Any]], graph: Graph) -> dict[str, NDArray[Any]]:
    """The arrays by the graph's input names, their shapes checked."""
    names = [item.name for item in graph.inputs]
    if list(batch) == [""] and len(names) == 1:
        batch = {names[0]: batch[""]}
    if set(batch) != set(names):
        received = sorted(name or "(without a name)" for name in batch)
        raise DataError("the inputs do not fit the network", where="inputs", received=received, expected=sorted(names))
    for item in graph.inputs:
        array = batch[item.name]
        expected = item.full_shape(len(array))
        if array.shape != expected:
            raise DataError(
                f"input {item.name!r} has the wrong shape",
                where="inputs",
                received=array.shape,
                expected=expected,
                remedy=None if item.batched else "this input takes no other batch: the model fixes its whole shape",
            )
    return batch


def _require_layout(layout: str, known: Collection[str]) -> None:
    if layout not in known:
        raise UnavailableError(f"the backend has no {layout!r}", where="layout", remedy=did_you_mean(layout, known))


def _with_nodes(graph: Graph, nodes: Sequence[str]) -> Graph:
    """The graph with the outputs of some nodes (``name`` or ``name:1``) as further outputs."""
    for name in nodes:
        graph.node(producer(name))
    extra = tuple((f"{_NODE}{name}", name) for name in dict.fromkeys(nodes))
    return replace(graph, outputs=(*graph.outputs, *extra))
