"""What can be said of the reference's own ops where these are a plugin's: nothing else holds them.

A plugin's op for NumPy is compared with a second definition where there is one: cnnbench's own op of the kind that it
replaces, or the parts of a composite. Its backward op is compared with central differences of its forward op.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import Setting, measured_forward
from cnnbench.numerics.comparison import Place, compare
from cnnbench.numerics.oracle import Oracle, node_call
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import LayerCall, LayerValues, Reference, alone, reference, reference_options
from cnnbench.numerics.teacher_forcing import representatives
from cnnbench.spec.graph import Node
from cnnbench.spec.masks import masks_of
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream

Array = NDArray[Any]
STEP = 1e-6
DIRECTIONS = 3
ADMITTED = 1e-4  # of the gradient's norm; rounding takes 1e-9, and a wrong factor or a term that is missing far more


class Doubt(NamedTuple):
    """A node whose op for NumPy is contradicted, and by what."""

    node: str
    text: str


def contradicted(oracle: Oracle) -> Doubt | None:
    """The first node whose output another definition contradicts."""
    for node, call in _calls(oracle, training=False):
        other = _second_definition(call)
        if other is None:
            continue
        what, values = other
        exact = reference().forward(call)
        moved = values if call.layer.is_composite else exact  # what the measurement runs: parts, or the op itself
        budget = measured_forward(Setting(call, moved, precision("float64"), reference()))
        for i, (a, b, admitted) in enumerate(zip(exact.outputs, values.outputs, budget.outputs, strict=True)):
            place = Place(node.name, call.layer.kind, Quantity.output(i))
            found = compare(place, a, b, admitted, precision("float64"))
            if found.problem is not None or not found.use.sharp_used <= 1:
                said = found.text or f"{found.use.got!r} for {found.use.expected!r} at {list(found.use.worst_index)}"
                return Doubt(node.name, f"{_named(node)}: {what} contradicts NumPy's op of {_giver(call)}: {said}")
    return None


def defined_once(oracle: Oracle) -> list[str]:
    """The kinds of which nothing but a plugin's op for NumPy says what they compute."""
    found = {node.layer.kind: _second_definition(call) for node, call in _calls(oracle, training=False)}
    return sorted(kind for kind, other in found.items() if other is None)


def wrong_gradient(oracle: Oracle) -> Doubt | None:
    """The first node whose gradient is not that of its forward op."""
    for node, call in _calls(oracle, training=True):
        if not call.layer.differentiable:
            continue
        gaps = sorted(_gap(call, oracle.case.seed, draw) for draw in range(DIRECTIONS))
        if not gaps[DIRECTIONS // 2] <= ADMITTED:  # one direction may cross a corner
            return Doubt(
                node.name,
                f"{_named(node)}: NumPy's gradient is not that of its forward op, by central differences "
                f"({gaps[DIRECTIONS // 2]:.2g} of the gradient's norm): one of the two ops of {_giver(call)} is wrong",
            )
    return None


def _named(node: Node) -> str:
    return f"{node.name} ({node.layer.kind})"


def _giver(call: LayerCall) -> str:
    return f"the plugin {reference().backend.operations.givers[call.layer.kind].plugin!r}"


def _calls(oracle: Oracle, *, training: bool) -> Iterator[tuple[Node, LayerCall]]:
    """The nodes, one of each layer and shape, whose op for NumPy is a plugin's."""
    case = oracle.case
    masks = masks_of(case.lowered, case.size, case.seed) if training else None
    for name in representatives(case.lowered, case.size):
        node = case.lowered.node(name)
        if node.layer.kind in reference().backend.operations.givers:
            yield node, node_call(case.lowered, node, case.stored, oracle.inputs(name), masks)


@cache
def _shipped() -> Reference:
    """The reference without what plugins add to it."""
    return Reference(backend_plugin("numpy").load())


def _second_definition(call: LayerCall) -> tuple[str, LayerValues] | None:
    if call.layer.kind in _shipped().backend.operations:
        return "cnnbench's own op", _shipped().forward(call)
    if not call.layer.is_composite:
        return None
    graph, batch, arrays = alone(call)
    parts = lower(graph)
    if any(node.layer.kind not in reference().backend.operations for node in parts.nodes):
        return None
    result = reference().subject.forward(parts, arrays, batch, reference_options())
    return "what its parts give", LayerValues(
        tuple(result.outputs[name] for name, _ in parts.outputs),
        tuple(result.state[spec.name] for spec in parts.named_state()),
    )


def _gap(call: LayerCall, seed: int, draw: int) -> float:
    """|<gradient, d> - (f(x + h d) - f(x - h d)) / 2 h| over the gradient's norm, along a random direction d."""
    generator = stream(seed, "central differences", str(draw))
    values = reference().forward(call)
    cotangents = tuple(np.asarray(generator.normal(size=y.shape)) for y in values.outputs if y.dtype.kind == "f")
    found = reference().gradient(call, cotangents)
    floats = [i for i, g in enumerate(found.inputs) if g is not None and i not in call.layer.no_gradient_to]
    trained = [i for i, g in enumerate(found.weights) if g is not None]
    moves = {("inputs", i): generator.normal(size=call.inputs[i].shape) for i in floats}
    moves |= {("weights", i): generator.normal(size=call.weights[i].shape) for i in trained}
    length = math.sqrt(sum(float((d * d).sum()) for d in moves.values())) or 1.0

    def value(step: float) -> float:
        outputs = (y for y in reference().forward(_moved(call, moves, step / length)).outputs if y.dtype.kind == "f")
        return float(sum((g * y).sum() for g, y in zip(cotangents, outputs, strict=True)))

    expected = (value(STEP) - value(-STEP)) / (2 * STEP)
    known = {key: np.asarray(getattr(found, key[0])[key[1]]) for key in moves}
    got = sum(float((known[key] * d).sum()) for key, d in moves.items()) / length
    scale = math.sqrt(sum(float((g * g).sum()) for g in known.values()))
    return abs(got - expected) / max(scale, abs(expected), 1e-3)


def _moved(call: LayerCall, moves: Mapping[tuple[str, int], Array], step: float) -> LayerCall:
    def of(role: str, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(x + step * moves[role, i] if (role, i) in moves else x for i, x in enumerate(arrays))

    return replace(call, inputs=of("inputs", call.inputs), weights=of("weights", call.weights))
