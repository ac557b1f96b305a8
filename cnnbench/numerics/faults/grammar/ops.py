"""Changes of an op: what one kind of node computes, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.numerics.faults.engine.base import OperationChange, choose, other_layer
from cnnbench.numerics.faults.grammar.arithmetic import (
    element_mask,
    fewer_bits,
    is_float,
    of_exchange,
    of_gradient,
    of_operand,
    of_outputs,
    of_state,
    slice_mask,
)
from cnnbench.numerics.faults.grammar.drawing import Chance, DrawnChange, Ground, signed
from cnnbench.numerics.faults.grammar.fields import changed_layer, layer_changes
from cnnbench.spec.graph import Node

Draw = Callable[[Chance, Ground, Node], DrawnChange | None]


def _change(what: str, text: str, ground: Ground, node: Node, operation: OperationChange) -> DrawnChange:
    names = frozenset(other.name for other in ground.nodes_of(node.layer.kind))
    return DrawnChange(what, f"{node.layer.kind}: {text}", node.layer.kind, names, operation=operation)


def _times(mask: Callable[[Any, Any], Any], error: float) -> OperationChange:
    """Outputs are multiplied by 1 + error where the mask is 1; integers get 1 added there."""

    def change(value: Any, call: Any) -> Any:
        return value * (1 + error * mask(value, call)) if is_float(value) else value + mask(value, call)

    return of_outputs(change)


def _element(chance: Chance, ground: Ground, node: Node) -> DrawnChange:
    where, error, every = chance.share(), chance.error(), chance.share() < 0.7
    added = chance.share() < 0.5

    def mask(value: Any, call: Any) -> Any:
        return element_mask(value, where, every_image=every)

    def shifted(value: Any, call: Any) -> Any:
        return value + mask(value, call) * (error if is_float(value) else 1)

    text = f"the element at {where} of {'each' if every else 'the last'} image {error if added else signed(error)} off"
    return _change("element", text, ground, node, of_outputs(shifted) if added else _times(mask, error))


def _channel(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    shapes = ground.graph.output_shapes(node)
    if not shapes or min(map(len, shapes)) < 2:
        return None
    index, error = chance.whole(0, max(0, shapes[0][1] - 1)), chance.error()

    def mask(value: Any, call: Any) -> Any:
        return slice_mask(value, call.channel_axis(len(value.shape)), index)

    return _change("channel", f"channel {index} {signed(error)} off", ground, node, _times(mask, error))


def _border(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    shapes = ground.graph.output_shapes(node)
    if not shapes or min(map(len, shapes)) < 3:
        return None
    axis, end = chance.whole(2, min(map(len, shapes)) - 1), chance.of((0, -1))
    error = chance.error()

    def mask(value: Any, call: Any) -> Any:
        return slice_mask(value, call.axis(axis, len(value.shape)), end)

    text = f"the {'last' if end else 'first'} row of axis {axis} {signed(error)} off"
    return _change("element", text, ground, node, _times(mask, error))


def _constant(chance: Chance, ground: Ground, node: Node) -> DrawnChange:
    error = chance.error()
    if chance.share() < 0.5:
        return _change("constant", f"{signed(error)} off", ground, node, _times(lambda value, call: 1, error))

    def shifted(value: Any, call: Any) -> Any:
        return value + (error if is_float(value) else 1)

    return _change("constant", f"{error:+g} added", ground, node, of_outputs(shifted))


def _operands(ground: Ground, node: Node) -> list[tuple[str, int, str, tuple[int, ...]]]:
    """Role, position, name and shape of each float operand."""
    shapes = ground.graph.input_shapes(node, ground.case.size)
    layer = node.layer
    found = [
        ("input", i, f"input {i}", shape)
        for i, (shape, value) in enumerate(zip(shapes, node.inputs, strict=True))
        if ground.graph.dtypes[value] == "float"
    ]
    found += [("weight", i, spec.name, spec.shape) for i, spec in enumerate(layer.weights(shapes))]
    return found + [("state", i, spec.name, spec.shape) for i, spec in enumerate(layer.state(shapes))]


def _term(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    operands = _operands(ground, node)
    if not operands:
        return None
    role, position, name, shape = chance.of(operands)
    others = [item for item in operands if item[0] == role and item[3] == shape and item[1] != position]
    if others and chance.share() < 0.5:
        other = chance.of(others)
        text = f"{name} and {other[2]} exchanged"
        return _change("term", text, ground, node, of_exchange(role, position, other[1]))
    by = chance.of((0.0, -1.0))
    text = f"{name} {'taken as 0' if by == 0 else 'negated'}"
    return _change("term", text, ground, node, of_operand(role, position, lambda value, call: by * value))


def _range(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    if not all(ground.graph.dtypes[name] == "float" for name in (node.name, *node.inputs)):
        return None
    limit = chance.of((1.0, 4.0, 6.0, 30.0, 127.0))
    kind = chance.of(("saturates", "floors", "swallows NaN"))
    changes: dict[str, Callable[[Any, Any], Any]] = {
        "saturates": lambda value, call: choose(~(value > limit), value, limit),
        "floors": lambda value, call: choose(~(value < -limit), value, -limit),
        "swallows NaN": lambda value, call: choose(value == value, value, 0.0),  # false for NaN
    }
    text = kind if kind == "swallows NaN" else f"{kind} at {limit if kind == 'saturates' else -limit}"
    return _change("range", text, ground, node, of_outputs(changes[kind]))


def _precision(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    bits = chance.of((8, 10, 11, 12, 14, 16, 18, 20))
    operands = [item for item in _operands(ground, node) if item[0] != "state"]

    def narrow(value: Any, call: Any) -> Any:
        return fewer_bits(value, bits) if is_float(value) else value

    if operands and chance.share() < 0.6:
        role, position, name, _ = chance.of(operands)
        return _change("precision", f"{name} in {bits} bits", ground, node, of_operand(role, position, narrow))
    return _change("precision", f"outputs in {bits} bits", ground, node, of_outputs(narrow))


def _field(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    changes = layer_changes(ground.graph, node)
    if not changes:
        return None
    change = chance.of(changes)
    same = [other for other in ground.graph.nodes if other.layer == node.layer]
    changed = changed_layer(ground.graph, same, change)
    if changed is None:
        return None
    before = node.layer
    operation = other_layer(lambda layer: changed if layer == before else layer)
    names = frozenset(other.name for other in same)
    return DrawnChange("field", f"{before.kind}: {change}", before.kind, names, operation=operation)


def _state(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    if not node.layer.state(ground.graph.input_shapes(node)):
        return None
    if chance.share() < 0.4:
        return _change("state", "running statistics not updated", ground, node, of_state(lambda old, new: old))
    error = chance.error()
    text = f"running statistics {signed(error)} off after a step"
    return _change("state", text, ground, node, of_state(lambda old, new: new * (1 + error)))


def _gradient(chance: Chance, ground: Ground, node: Node) -> DrawnChange | None:
    layer = node.layer
    operands = [item for item in _operands(ground, node) if item[0] != "state" and layer.differentiable]
    operands = [item for item in operands if item[0] != "input" or item[1] not in layer.no_gradient_to]
    if layer.kind == "stop_gradient" or not operands:
        return None
    role, position, name, _ = chance.of(operands)
    where, error = chance.share(), chance.error()
    choices: dict[str, Callable[[Any], Any]] = {
        f"{signed(error)} off": lambda value: 1 + error,
        f"{signed(error)} off at {where}": lambda value: 1 + error * element_mask(value, where),
        f"0 at {where}": lambda value: 1 - element_mask(value, where),
        "left out": lambda value: 0,
    }
    text = chance.of(list(choices))
    return _change(
        "gradient", f"the gradient to {name} {text}", ground, node, of_gradient(role, position, choices[text])
    )


DRAWS: tuple[tuple[Draw, float], ...] = (
    (_element, 2),
    (_channel, 1),
    (_border, 1),
    (_constant, 1),
    (_term, 2),
    (_range, 1),
    (_precision, 2),
    (_field, 4),
    (_state, 1),
    (_gradient, 2),
)


def draw_op(chance: Chance, ground: Ground) -> DrawnChange | None:
    """A change of the op of a node that is drawn by its kind; None where the draw does not fit the node."""
    kind = chance.of(sorted({node.layer.kind for node in ground.places}))
    node = chance.of([node for node in ground.places if node.layer.kind == kind])
    return chance.weighted(DRAWS)(chance, ground, node)
