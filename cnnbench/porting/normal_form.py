"""Brings a network into the one form in which two networks are compared: what means the same is written the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import Add, Flatten, GlobalAvgPool, LeakyReLU, ReLU, ReLU6, Shape
from cnnbench.spec.layers.arithmetic import Affine, Clip
from cnnbench.spec.passes import lower
from cnnbench.spec.passes.layout import channels_first

Arrays = Mapping[str, NDArray[Any]]

_NEVER_NEGATIVE = {"relu", "relu6", "sigmoid", "hard_sigmoid", "softmax", "softplus"}
_TO_ROWS = {"flatten", "reshape", "squeeze"}
_EACH_ELEMENT = _NEVER_NEGATIVE | {
    "dropout",
    "tanh",
    "gelu",
    "silu",
    "leaky_relu",
    "elu",
    "hard_swish",
    "scalar_affine",
}


@dataclass(frozen=True)
class PlainNetwork:
    """A network in normal form.

    Args:
        graph: Of primitive kinds, with channels first.
        arrays: Its weights and running statistics, those behind a flattening by channels, height and width.
        flattened: For a linear layer behind a flattening the (C, *spatial) that was flattened.
    """

    graph: Graph
    arrays: Arrays
    flattened: Mapping[str, Shape]


def normal_form(graph: Graph, arrays: Arrays) -> PlainNetwork:
    """The network in the form in which another can be compared with it; it computes the same.

    Transpositions between layouts are taken out, and where an image is flattened with its channels last, the rows of
    the linear layer behind it take the order of channels first. Paddings become fields of the window behind them. A
    clip to 0 and 6 is a ReLU6, a pool over all positions the global one, and so on.

    Args:
        graph: The network.
        arrays: Its weights and running statistics by full name.
    """
    plain = channels_first(lower(graph))
    found = dict(arrays)
    plain = _with_rows(plain, found)
    plain = replace(plain, nodes=tuple(replace(node, layer=_usual(node, plain)) for node in plain.nodes))
    for change in (_pooled_to_rows, _padded_windows, _merged_affine, _without_identities):
        plain = change(plain)
    plain = replace(plain, nodes=tuple(replace(node, layer=_read_rows_only(node, plain)) for node in plain.nodes))
    plain = _usual_gates(plain, found)
    return PlainNetwork(plain, found, _flattened(plain))


def _usual(node: Node, graph: Graph) -> Any:
    """The layer as it is mostly written."""
    layer: Any = node.layer
    shapes = graph.input_shapes(node)
    if layer.kind == "clip":
        limits = (layer.minimum, layer.maximum)
        return ReLU6() if limits == (0.0, 6.0) else ReLU() if limits == (0.0, None) else layer
    if layer.kind == "leaky_relu" and layer.negative_slope == 0:
        return ReLU()
    if layer.kind == "add" and layer.broadcast and len(set(shapes)) == 1:
        return Add()
    if layer.kind == "reduce" and layer.function == "mean" and _is_spatial(layer.axes, shapes[0]):
        return GlobalAvgPool(keep_spatial=layer.keepdims)
    if layer.kind == "adaptive_avg_pool" and set(graph.output_shapes(node)[0][2:]) == {1}:
        return GlobalAvgPool(keep_spatial=True)
    if layer.kind == "avg_pool" and _is_whole(layer, shapes[0]):
        return GlobalAvgPool(keep_spatial=True)
    if layer.kind == "reshape" and len(graph.output_shapes(node)[0]) == 2 and not layer.whole and len(shapes[0]) > 2:
        return Flatten()
    return layer


def _read_rows_only(node: Node, graph: Graph) -> Any:
    """The layer without padding at the end that no window reads, and with that which rounding up adds."""
    layer: Any = node.layer
    if layer.kind == "avg_pool" and not any(map(any, layer.padding)) and not layer.ceil_mode:
        return replace(layer, count_include_pad=True)
    if layer.kind not in ("conv", "max_pool"):
        return layer
    sizes, made = graph.input_shapes(node)[0][2:], graph.output_shapes(node)[0][2:]
    k, s, d = layer.window()
    needed = [(n - 1) * s[i] + d[i] * (k[i] - 1) + 1 - sizes[i] - layer.padding[i][0] for i, n in enumerate(made)]
    pairs = tuple((begin, max(end, 0)) for (begin, _), end in zip(layer.padding, needed, strict=True))
    return replace(layer, padding=pairs, **({"ceil_mode": False} if layer.kind == "max_pool" else {}))


def _merged_affine(graph: Graph) -> Graph:
    """Factors and shifts in a row as one, under the name of the last."""
    changed: dict[str, Node] = {}
    removed: dict[str, str] = {}
    for node in graph.nodes:
        layer: Any = changed.get(node.name, node).layer
        reader = _single_reader(graph, node.name)
        if layer.kind != "scalar_affine" or reader is None or reader.layer.kind != "scalar_affine":
            continue
        after: Any = reader.layer
        merged = Affine(scale=layer.scale * after.scale, shift=layer.shift * after.scale + after.shift)
        changed[reader.name] = replace(reader, layer=merged)
        removed[node.name] = node.inputs[0]
    return _replaced(graph, changed, removed)


_USUAL_GATES = {"lstm": "ifgo", "gru": "rzn"}


def _usual_gates(graph: Graph, arrays: dict[str, NDArray[Any]]) -> Graph:
    """Recurrent layers with PyTorch's order of gates, and with one bias where two are only added."""
    nodes = []
    for node in graph.nodes:
        layer: Any = node.layer
        order = _USUAL_GATES.get(layer.kind)
        if order is not None and layer.gate_order != order:
            places = [layer.gate_order.index(gate) for gate in order]
            for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "bias"):
                array = arrays.get(f"{node.name}.{role}")
                if array is not None:
                    parts = np.split(array, len(order))
                    arrays[f"{node.name}.{role}"] = np.concatenate([parts[place] for place in places])
            layer = replace(layer, gate_order=order)
        if layer.kind in ("lstm", "rnn") and layer.biases == "two":
            one, two = (arrays.pop(f"{node.owner}.{role}", None) for role in ("bias_ih", "bias_hh"))
            if one is not None and two is not None:
                arrays[f"{node.owner}.bias"] = np.asarray(one, np.float64) + two
            layer = replace(layer, biases="one")
        nodes.append(replace(node, layer=layer))
    return replace(graph, nodes=tuple(nodes))


def _is_spatial(axes: Any, shape: Shape) -> bool:
    return len(shape) > 2 and tuple(axes or ()) == tuple(range(2, len(shape)))


def _is_whole(layer: Any, shape: Shape) -> bool:
    return tuple(layer.kernel_size) == shape[2:] and not any(map(any, layer.padding)) and layer.divisor is None


def _single_reader(graph: Graph, value: str) -> Node | None:
    """The only node that reads a value, where it is no output of the network."""
    readers = graph.consumers().get(value, [])
    return readers[0] if len(readers) == 1 and value not in {v for _, v in graph.outputs} else None


def _replaced(graph: Graph, changed: Mapping[str, Node], removed: Mapping[str, str]) -> Graph:
    """The graph with other nodes for some, and without others, whose values are those of what stands for them."""

    def kept(value: str) -> str:
        while value in removed:
            value = removed[value]
        return value

    nodes = tuple(
        replace(node, inputs=tuple(kept(value) for value in node.inputs))
        for node in (changed.get(node.name, node) for node in graph.nodes)
        if node.name not in removed
    )
    return replace(graph, nodes=nodes, outputs=tuple((name, kept(value)) for name, value in graph.outputs))


def _pooled_to_rows(graph: Graph) -> Graph:
    """Global pools that keep positions of size 1, and the flattening behind them, as one."""
    changed, removed = {}, {}
    for node in graph.nodes:
        layer: Any = node.layer
        if layer.kind not in ("global_avg_pool", "global_max_pool") or not layer.keep_spatial:
            continue
        reader = _single_reader(graph, node.name)
        if reader is not None and reader.layer.kind in _TO_ROWS and len(graph.output_shapes(reader)[0]) == 2:
            changed[node.name] = replace(node, layer=replace(layer, keep_spatial=False))
            removed[reader.name] = node.name
    return _replaced(graph, changed, removed)


def _padded_windows(graph: Graph) -> Graph:
    """Zeros around an image as the padding of the window behind them, where that computes the same."""
    kinds = {node.name: node.layer.kind for node in graph.nodes}
    changed, removed = {}, {}
    for node in graph.nodes:
        layer: Any = node.layer
        if layer.kind != "pad" or layer.mode != "constant" or layer.value != 0 or any(layer.padding[0]):
            continue
        reader = _single_reader(graph, node.name)
        if reader is None or len(layer.padding) < 2:
            continue
        window: Any = reader.layer
        inside = kinds.get(node.inputs[0]) in _NEVER_NEGATIVE
        fits = window.kind == "conv" or (window.kind == "max_pool" and inside and _sees_input(window, layer))
        counts = window.kind == "avg_pool" and (window.count_include_pad or not any(map(any, window.padding)))
        fits = fits or (counts and not window.ceil_mode)
        if not fits:
            continue
        pairs = tuple((a + c, b + d) for (a, b), (c, d) in zip(layer.padding[1:], window.padding, strict=True))
        more = {"count_include_pad": True} if counts else {}
        changed[reader.name] = replace(reader, layer=replace(window, padding=pairs, **more))
        removed[node.name] = node.inputs[0]
    return _replaced(graph, changed, removed)


def _sees_input(window: Any, pad: Any) -> bool:
    """Whether no window would see padding alone."""
    return all(
        max(pair) <= d * (k - 1)
        for pair, k, d in zip(pad.padding[1:], window.kernel_size, window.dilation, strict=True)
    )


def _without_identities(graph: Graph) -> Graph:
    removed = {}
    for node in graph.nodes:
        layer: Any = node.layer
        nothing = layer.kind == "dropout" and layer.p == 0
        nothing = nothing or (isinstance(layer, Affine) and (layer.scale, layer.shift) == (1.0, 0.0))
        nothing = nothing or (isinstance(layer, Clip) and (layer.minimum, layer.maximum) == (-math.inf, math.inf))
        nothing = nothing or (isinstance(layer, LeakyReLU) and layer.negative_slope == 1)
        if nothing or (layer.kind in _TO_ROWS and graph.output_shapes(node) == graph.input_shapes(node)):
            removed[node.name] = node.inputs[0]
    return _replaced(graph, {}, removed)


def _with_rows(graph: Graph, arrays: dict[str, NDArray[Any]]) -> Graph:
    """Flattenings of images whose channels were moved last become plain ones; the rows behind them follow."""
    removed = {}
    for node in graph.nodes:
        layer: Any = node.layer
        if layer.kind != "transpose":
            continue
        reader = _single_reader(graph, node.name)
        rank = len(layer.permutation)
        if (
            layer.permutation != (0, *range(2, rank), 1)
            or reader is None
            or reader.layer.kind not in ("flatten", "reshape")
        ):
            continue
        linear = _linear_behind(graph, reader)
        if len(graph.output_shapes(reader)[0]) != 2 or linear is None or linear.owner in graph.sharing:
            continue
        shape = graph.input_shapes(node)[0][1:]
        order = np.arange(math.prod(shape)).reshape(*shape[1:], shape[0])
        order = np.moveaxis(order, -1, 0).reshape(-1)  # the place with channels last of each element
        name = f"{linear.name}.weight"
        arrays[name] = np.ascontiguousarray(arrays[name][:, order])
        removed[node.name] = node.inputs[0]
    return _replaced(graph, {}, removed)


def _linear_behind(graph: Graph, node: Node) -> Node | None:
    """The linear layer that reads a value, through layers that keep each element in its place."""
    reader = _single_reader(graph, node.name)
    while reader is not None and reader.layer.kind in _EACH_ELEMENT:
        reader = _single_reader(graph, reader.name)
    return reader if reader is not None and reader.layer.kind == "linear" else None


def _flattened(graph: Graph) -> dict[str, Shape]:
    found = {}
    for node in graph.nodes:
        if node.layer.kind == "flatten":
            shape = graph.input_shapes(node)[0][1:]
            linear = _linear_behind(graph, node)
            if linear is not None and len(shape) > 1:
                found[linear.name] = shape
    return found
