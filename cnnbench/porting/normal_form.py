"""Brings a network into a normal form for comparison, in which equivalent layers are equal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.porting.layer_forms import read_rows_only, usual, usual_gates
from cnnbench.porting.written_out import with_known_layers
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import LeakyReLU, Shape
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
    clip to 0 and 6 is a ReLU6, a pool over all positions the global one, and so on. Activations and rearrangements that
    are written out are one layer.

    Args:
        graph: The network.
        arrays: Its weights and running statistics by full name.
    """
    found = dict(arrays)
    plain = with_known_layers(channels_first(lower(graph)), found)
    plain = _with_rows(plain, found)
    plain = replace(plain, nodes=tuple(replace(node, layer=usual(node, plain)) for node in plain.nodes))
    for change in (_pooled_to_rows, _padded_windows, _merged_affine, _without_identities):
        plain = change(plain)
    plain = replace(plain, nodes=tuple(replace(node, layer=read_rows_only(node, plain)) for node in plain.nodes))
    plain = usual_gates(plain, found)
    return PlainNetwork(plain, found, _flattened(plain))


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
