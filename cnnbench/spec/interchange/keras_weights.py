"""Fits the weights of Keras' files to a network: by the names of its applications, else by the network's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.interchange.fitting import Fitted, KerasArrays, expected_shapes
from cnnbench.spec.interchange.keras_names import OTHERWISE, Application, application
from cnnbench.spec.layers import Shape
from cnnbench.spec.weights import check_fits

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array

PREPARATION = ("normalization", "rescaling")  # layers of the network's input, which a caller does here


def fit_keras(graph: Graph, arrays: KerasArrays, where: str) -> Fitted:
    """The arrays by the names of ``graph``, with what was changed on the way and what stays different.

    What leaves every prediction as it was is done: rows of a linear layer after a flatten take our order of channels, a
    convolution's bias moves into the mean of the norm behind it, another epsilon into its variance, a missing scale
    is 1. What does not (another padding) is a difference.

    Args:
        graph: The network.
        arrays: By layer and role, as the reader of Keras' files gives them.
        where: What messages call the file.

    Raises:
        DataError: With the list of what does not fit.
    """
    if graph.name in OTHERWISE:
        raise DataError(
            f"{graph.name} is not Keras' network, which has the stride of a block in its first convolution",
            where=where,
            remedy=f"import it as {OTHERWISE[graph.name]}",
        )
    known = application(graph.name)
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in arrays))
    nodes = known.names(graph, layers) if known else {}
    nodes = {layer: nodes.get(layer, layer) for layer in layers}
    notes: list[str] = []
    aside = [layer for layer in layers if layer.startswith(PREPARATION) and nodes[layer] == layer]
    if aside:
        notes.append(f"left aside: {', '.join(aside)}; prepare the images as those layers do")
    expected = expected_shapes(graph)
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        layer, _, role = name.rpartition(".")
        if layer not in aside:
            ours = f"{nodes[layer]}.{role}"
            found[ours] = _shaped(graph, nodes[layer], role, array, expected.get(ours))
    epsilons = {nodes[layer]: value for layer, value in arrays.epsilons.items() if layer in nodes}
    for change in (_with_scales, _without_biases, _with_auxiliary):
        notes += change(graph, found, expected)
    notes += _with_epsilons(graph, found, epsilons, known.epsilon if known else None)
    check_fits(graph, found, where=where)
    return Fitted({name: found[name] for name in expected}, tuple(notes), tuple(_differences(graph, known)))


def _shaped(graph: Graph, name: str, role: str, array: Array, shape: Shape | None) -> Array:
    """A 1x1 kernel as the matrix of a linear layer; rows that Keras flattened as (H, W, C) as (C, H, W)."""
    if role != "weight" or shape is None or len(shape) != 2:
        return array
    if array.ndim == 4 and array.shape[2:] == (1, 1):
        array = array[:, :, 0, 0]
    image = _flattened(graph, graph.node(name))
    if array.ndim != 2 or image is None or array.shape[1] != image[0] * image[1] * image[2]:
        return array
    channels, height, width = image
    turned = array.reshape(len(array), height, width, channels).transpose(0, 3, 1, 2)
    return turned.reshape(len(array), -1).copy()


def _flattened(graph: Graph, node: Node) -> Shape | None:
    """(C, H, W) of the image that was flattened before a linear layer, None where there is none."""
    by_name = {item.name: item for item in graph.nodes}
    source = by_name.get(node.inputs[0])
    while source is not None and source.layer.kind == "dropout":
        source = by_name.get(source.inputs[0])
    if source is None or source.layer.kind != "flatten":
        return None
    shape = graph.input_shapes(source)[0]
    return shape[1:] if len(shape) == 4 else None


def _norms(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.layer.kind == "batch_norm"]


Change = Callable[[Graph, dict[str, Any], dict[str, Shape]], list[str]]


def _with_scales(graph: Graph, found: dict[str, Array], expected: dict[str, Shape]) -> list[str]:
    import numpy as np

    missing = [
        f"{node.name}.weight"
        for node in _norms(graph)
        if f"{node.name}.weight" not in found and f"{node.name}.running_var" in found
    ]
    found |= {name: np.ones(expected[name], np.float32) for name in missing}
    return [f"{len(missing)} normalisations have no scale in the file (scale=False): 1"] if missing else []


def _without_biases(graph: Graph, found: dict[str, Array], expected: dict[str, Shape]) -> list[str]:
    """norm(x + b) with mean m is norm(x) with mean m - b; arrays that several nodes use are left as they are."""
    moved = 0
    consumers = graph.consumers()
    for node in graph.nodes:
        name = f"{node.name}.bias"
        if node.layer.kind != "conv" or name not in found or name in expected:
            continue
        behind = consumers.get(node.name, [])
        mean = f"{behind[0].name}.running_mean" if len(behind) == 1 else ""
        shared = node.name in graph.sharing or (mean and behind[0].name in graph.sharing)
        if mean in found and not shared:
            found[mean] = (found[mean].astype("float64") - found.pop(name)).astype("float32")
            moved += 1
    return [f"{moved} biases of convolutions went into the running means of the norms behind them"] if moved else []


def _with_auxiliary(graph: Graph, found: dict[str, Array], expected: dict[str, Shape]) -> list[str]:
    """Keras' InceptionV3 has no auxiliary classifier."""
    from cnnbench.spec.weights import initialize

    missing = [name for name in expected if name not in found]
    if not missing or not all(name.startswith("AuxLogits.") for name in missing):
        return []
    drawn = initialize(graph, 0)
    found |= {name: drawn[name] for name in missing}
    return [f"the file has no auxiliary classifier: {len(missing)} arrays of AuxLogits are drawn from seed 0"]


def _with_epsilons(
    graph: Graph, found: dict[str, Array], epsilons: dict[str, float], default: float | None
) -> list[str]:
    """(v + a) + e is v + (a + e): another epsilon becomes a part of the variance."""
    moved: dict[tuple[float, float], int] = {}
    for node in _norms(graph):
        name = f"{node.name}.running_var"
        theirs, ours = epsilons.get(node.name, default), float(getattr(node.layer, "eps", 0.0))
        if name not in found or theirs is None or theirs == ours or node.name.startswith("AuxLogits."):
            continue
        moved[(theirs, ours)] = moved.get((theirs, ours), 0) + 1
        changed = found[name].astype("float64") + (theirs - ours)
        if (changed < 0).any() and (found[name] >= 0).all():
            raise DataError(f"the epsilon of {node.name} is too small", received=theirs, expected=f"{ours} or more")
        found[name] = changed.astype("float32")
    return [
        f"epsilon {theirs:g} in {count} norms, {ours:g} here: the running variances hold the difference"
        for (theirs, ours), count in moved.items()
    ]


def _differences(graph: Graph, known: Application | None) -> list[str]:
    """The nodes that Keras' application computes otherwise, whatever the weights."""
    if known is None:
        return []
    found = []
    for node in graph.nodes:
        layer: Any = node.layer
        padding = getattr(layer, "padding", None)
        if not isinstance(padding, tuple) or not any(map(any, padding)) or node.name.startswith("AuxLogits."):
            continue
        theirs = _keras_padding(graph, node, known.padding)
        if layer.kind == "conv" and theirs != padding:
            found.append(f"{node.name} pads {padding}, Keras {theirs}")
        if layer.kind == "avg_pool" and layer.count_include_pad != known.mean_of_padding:
            found.append(f"{node.name} counts its padding in the mean, Keras does not")
    return found


def _keras_padding(graph: Graph, node: Node, rule: str) -> tuple[tuple[int, int], ...]:
    layer: Any = node.layer
    ours: tuple[tuple[int, int], ...] = layer.padding
    if rule == "ours" or layer.kind != "conv" or max(layer.stride) == 1:
        return ours
    if rule == "end":
        return ((0, 1), (0, 1))
    spatial = graph.input_shapes(node)[0][2:]
    totals = [
        max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(spatial, layer.stride, layer.kernel_size, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)
