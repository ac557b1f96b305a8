"""Takes transpositions between layouts out of a graph: values keep their channels first, whatever order was written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cnnbench.spec.graph import Graph, Node, value_names
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.shape import Reshape, Transpose

Order = tuple[int, ...]

_EACH_ELEMENT = {
    *("relu", "relu6", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "softplus", "softsign"),
    *("mish", "hard_sigmoid", "hard_swish", "thresholded_relu", "shrink", "clip", "elementwise", "scalar_affine"),
    *("scalar_power", "dropout", "stop_gradient"),
}
_JOINING = {"add", "multiply", "subtract", "divide", "minimum", "maximum", "mean"}
_JOINED = {"flatten", "reshape"}


@dataclass
class _Moving:
    """A graph while it is rewritten.

    Args:
        nodes: So far.
        held: Of each value, the one that holds its elements and, for each axis, the axis of that one.
        shapes: Of the values that hold elements.
    """

    nodes: list[Node] = field(default_factory=list)
    held: dict[str, tuple[str, Order]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    turned: dict[tuple[str, Order], str] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        results = node.layer.output_shapes(tuple(self.shapes[value] for value in node.inputs))
        self.shapes.update(zip(value_names(node.name, len(results)), results, strict=True))
        self.nodes.append(node)

    def plain(self, value: str) -> str:
        """A value of the old graph with its axes as they were."""
        return self.in_order(value, tuple(range(len(self.held[value][1]))))

    def in_order(self, value: str, order: Order) -> str:
        """A value that holds the elements of one of the old graph in this order of axes."""
        base, own = self.held[value]
        if own == order:
            return base
        permutation = tuple(own[order.index(axis)] for axis in range(len(order)))
        if permutation == tuple(range(len(order))):
            return base
        key = (base, permutation)
        if key not in self.turned:
            name = f"{base.replace(':', '_')}.layout" + ("_" + "".join(map(str, permutation)))
            self.add(Node(name, Transpose(permutation=permutation), (base,)))
            self.turned[key] = name
        return self.turned[key]


def channels_first(graph: Graph) -> Graph:
    """The graph without transpositions that cancel each other out; node names, outputs and arrays stay as they are.

    For example a network that turns an image to channels last before each element-wise layer, and back before each
    convolution, becomes one that never turns it. What a layer needs in another order, such as a flattening with the
    channels last, is turned there.
    """
    moving = _Moving()
    for item in graph.inputs:
        shape = item.full_shape(1)
        moving.shapes[item.name] = shape
        moving.held[item.name] = (item.name, tuple(range(len(shape))))
    for node in graph.nodes:
        _place(node, graph, moving)
    outputs = tuple((name, moving.plain(value)) for name, value in graph.outputs)
    return replace(graph, nodes=tuple(moving.nodes), outputs=outputs).without_unread()


def _place(node: Node, graph: Graph, moving: _Moving) -> None:
    layer: Any = node.layer
    kind = layer.kind
    if kind == "transpose":
        base, order = moving.held[node.inputs[0]]
        moving.held[node.name] = (base, tuple(order[axis] for axis in layer.permutation))
        return
    order = moving.held[node.inputs[0]][1] if node.inputs else ()
    change = _CHANGES.get(kind)
    if kind in _EACH_ELEMENT or kind in _JOINING or change is not None:
        order = _common_order(node, moving)
        made = layer if change is None else change(layer, order)
        if made is not None:
            inputs = tuple(moving.in_order(value, order) for value in node.inputs)
            _put(node, made, inputs, order, moving)
            return
    if kind in _JOINED and _same_elements(order, moving.shapes[moving.held[node.inputs[0]][0]]):
        _put_plain(node, (moving.held[node.inputs[0]][0],), graph, moving)
        return
    _put_plain(node, tuple(moving.plain(value) for value in node.inputs), graph, moving)


def _common_order(node: Node, moving: _Moving) -> Order:
    """The order of the operand with the most elements."""
    orders = [moving.held[value] for value in node.inputs]
    sizes = [math.prod(moving.shapes[base]) for base, _ in orders]
    return orders[sizes.index(max(sizes))][1]


def _same_elements(order: Order, shape: Shape) -> bool:
    """Whether flattening in both orders gives the same: the axes that hold more than one element stand alike."""
    moved = [axis for axis in order if shape[axis] != 1 and axis != 0]
    return order[0] == 0 and moved == sorted(moved)


def _put(node: Node, layer: Any, inputs: tuple[str, ...], order: Order, moving: _Moving) -> None:
    moving.add(replace(node, layer=layer, inputs=inputs))
    count = len(layer.output_shapes(tuple(moving.shapes[value] for value in inputs)))
    for value in value_names(node.name, count):
        moving.held[value] = (value, order)


def _put_plain(node: Node, inputs: tuple[str, ...], graph: Graph, moving: _Moving) -> None:
    shapes = tuple(moving.shapes[value] for value in inputs)
    layer = node.layer
    if shapes != graph.input_shapes(node):  # a flattening of the same elements in another shape
        layer = Reshape(shape=graph.output_shapes(node)[0][1:]) if layer.kind == "reshape" else layer
    moving.add(replace(node, layer=layer, inputs=inputs))
    for value, shape in zip(
        value_names(node.name, len(layer.output_shapes(shapes))), layer.output_shapes(shapes), strict=True
    ):
        moving.held[value] = (value, tuple(range(len(shape))))


def _axis(layer: Any, order: Order) -> Any:
    return replace(layer, axis=order[layer.axis])


def _axes(layer: Any, order: Order) -> Any:
    if layer.axes is None:
        return None
    return replace(layer, axes=tuple(order[axis % len(order)] for axis in layer.axes))


def _slice(layer: Any, order: Order) -> Any:
    return _axes(layer, order)


def _reduce(layer: Any, order: Order) -> Any:
    if not layer.keepdims or layer.axes is None:
        return None
    return replace(layer, axes=tuple(sorted(order[axis] for axis in layer.axes)))


def _pad(layer: Any, order: Order) -> Any:
    if order[0] != 0:
        return None
    pairs: list[Any] = [(0, 0)] * len(order)
    for axis, pair in enumerate(layer.padding, 1):
        pairs[order[axis]] = pair
    return replace(layer, padding=tuple(pairs[1:]))


_CHANGES: dict[str, Callable[[Any, Order], Any]] = {
    "concat": _axis,
    "split": _axis,
    "gather": _axis,
    "softmax": _axis,
    "log_softmax": _axis,
    "slice": _slice,
    "reduce": _reduce,
    "pad": _pad,
}
