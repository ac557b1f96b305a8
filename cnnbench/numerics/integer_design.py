"""Chooses weights and inputs of a whole network such that every value is exact, whatever the order of its sums."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import CnnbenchError
from cnnbench.numerics.budgets import Setting, forward_budget
from cnnbench.numerics.case import Case
from cnnbench.numerics.integer_affine import IntegerAffine, roles
from cnnbench.numerics.integer_weights import Products, dense, inner_taps, sparse, unit
from cnnbench.numerics.integers import INTEGERS, has_exact_weights, is_exact
from cnnbench.numerics.oracle import node_call
from cnnbench.numerics.reference import LayerCall, LayerValues, reference
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.teacher_forcing import output_names
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, BatchNorm, Conv, GlobalAvgPool, GlobalMaxPool, Linear
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.streams import stream

Array = NDArray[Any]
INPUTS = 4  # inputs are 1 to so many
LARGEST = 2.0**12  # of ordinary values: more bits than TF32 holds
DUST = 2.0**-30  # relative; what a saturated activation lacks to its limit
# What an inexact value may go through to the outputs: its error is followed there.
SPATIAL = ("avg_pool", "global_avg_pool", "adaptive_avg_pool", "max_pool", "global_max_pool")
FOLLOWED = frozenset(
    ("conv", "linear", "relu", "add", "concat", "flatten", "dropout", "reshape", "squeeze", "transpose", *SPATIAL)
)


class InexactError(CnnbenchError):
    """A network of which no part can be held exactly."""


@dataclass
class Design:
    """The walk over a network that chooses its arrays.

    ``errors`` bounds the error of each value that is not exact; nodes of the kinds in ``rounding`` are cut.
    """

    case: Case
    graph: Graph
    draw: str
    rounding: frozenset[str] = frozenset()
    values: dict[str, Array] = field(default_factory=dict)
    errors: dict[str, Array] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.followed = _followed(self.graph)
        self.limit = INTEGERS[self.case.policy.accumulator_roundoff]
        self.largest = _largest(self.case, self.graph, self.draw)
        self.affine = IntegerAffine(roles(self.graph), self.largest, self.case.policy)

    def generator(self, name: str) -> np.random.Generator:
        return stream(self.case.seed, f"integer network {self.draw}", name)

    def run(self) -> None:
        """Every node in order."""
        for item in self.graph.inputs:
            given = self.case.inputs[item.name]
            shape = given.shape
            drawn = self.generator(item.name).integers(1, INPUTS + 1, shape).astype(np.float64)
            self.values[item.name] = drawn if item.dtype == "float" else given
        for node in self.graph.nodes:
            if not self._visit(node):
                self._cut(node)

    def _visit(self, node: Node) -> bool:
        """Whether the node stays: its values are exact, or their error is small and can be followed to the outputs."""
        inputs = tuple(self.values[value] for value in node.inputs)
        wrong = any(value in self.errors for value in node.inputs)
        if node.layer.kind in self.rounding or (wrong and node.name not in self.followed):
            return False
        if not self._choose(node, inputs):
            return False
        call = node_call(self.graph, node, self.arrays, inputs, None)
        values = reference().forward(call)
        names = output_names(self.graph, node)
        exact = None if wrong else self._exact(node, call, values)
        if exact is not None:
            self.values |= dict(zip(names, exact, strict=True))
            return True
        if node.name not in self.followed:
            return False
        found = self._errors(node, call, values)
        self.values |= dict(zip(names, values.outputs, strict=True))
        self.errors |= dict(zip(names, found, strict=True))
        return True

    def _choose(self, node: Node, inputs: tuple[Array, ...]) -> bool:
        """Chooses the arrays that the node owns; False for a kind of which it is not known how."""
        specs = node.layer.weights(self.graph.input_shapes(node))
        state = node.layer.state(self.graph.input_shapes(node))
        if all(f"{node.owner}.{spec.name}" in self.arrays for spec in (*specs, *state)):
            return True
        layer, generator = node.layer, self.generator(node.owner)
        if isinstance(layer, BatchNorm):
            chosen = self.affine.norm(node, layer, inputs[0], generator)
        elif isinstance(layer, Conv | Linear):
            chosen = self._products(node, layer, inputs[0], generator)
        elif layer.kind == "parameter":
            chosen = {spec.name: generator.integers(1, INPUTS + 1, spec.shape).astype(np.float64) for spec in specs}
        else:
            return False
        stored = {name: to_storage(np.asarray(a, np.float64), self.case.policy) for name, a in chosen.items()}
        self.arrays |= {f"{node.owner}.{name}": array for name, array in stored.items()}
        return True

    def _products(self, node: Node, layer: Any, x: Array, generator: np.random.Generator) -> dict[str, Array]:
        shape = next(spec.shape for spec in layer.weights(self.graph.input_shapes(node)) if spec.name == "weight")
        if isinstance(layer, Conv):
            places = layer.output_shapes((x.shape,))[0][2:]
            inner = inner_taps(x.shape[2:], layer, places)
            products = Products(shape[0], layer.groups, math.prod(shape[2:]), inner)
            operand = x.swapaxes(0, 1).reshape(x.shape[1], -1)
        else:
            products = Products(shape[0], 1, 1, gathered=8)
            operand = np.moveaxis(x, -1, 0).reshape(x.shape[-1], -1)
        draw = dense if self.draw == "dense" else sparse
        normed = self.affine.roles.get(node.name, "normalised") == "normalised"
        scale = 1.0 if normed else max(1.0, 1.0 / (unit(operand) or 1.0))  # units are whole again
        weights = {"weight": draw(products, operand, generator).reshape(shape) * scale}
        if layer.bias:
            zero = np.zeros(shape[0])
            y = reference().forward(LayerCall(layer, (x,), (weights["weight"], zero))).outputs[0]
            axis = 1 if isinstance(layer, Conv) else -1
            weights["bias"] = self.affine.shift(node, np.moveaxis(y, axis, 0).reshape(shape[0], -1), generator)
        return weights

    def _exact(self, node: Node, call: LayerCall, values: LayerValues) -> tuple[Array, ...] | None:
        """The values that any order of sums gives: multiples of a unit whose sums fit. None where it is not so."""
        layer = node.layer
        averages = isinstance(layer, AvgPool | AdaptiveAvgPool | GlobalAvgPool) and not isinstance(layer, GlobalMaxPool)
        if averages and not is_exact(layer, tuple(x.shape for x in call.inputs)):
            return None
        if isinstance(layer, Resize) and not has_exact_weights(layer, call.inputs[0].shape):
            return None  # 1/3 a + 2/3 a is a in real numbers only
        if isinstance(layer, Conv | Linear) and not self._fits(call):
            return None
        if isinstance(layer, BatchNorm) and not self.affine.is_exact(layer, call):
            return None
        found = []
        for y in values.outputs:
            if y.dtype.kind == "f":
                near = y if not isinstance(layer, BatchNorm) else self.affine.ideal(layer, call)
                y = to_storage(near, self.case.policy).astype(np.float64)
                step = unit(y)
                if step is None or np.abs(y).max(initial=0) / step >= self.limit / 4:
                    return None
                if np.abs(y - near).max(initial=0) > DUST * np.abs(near).max(initial=0):
                    return None
            found.append(y)
        return tuple(found)

    def _fits(self, call: LayerCall) -> bool:
        x, w = call.inputs[0], call.weights[0]
        steps = unit(x), unit(w)
        if None in steps or (_as_operand(x, self.case) != x).any():
            return False
        terms = np.abs(w).reshape(len(w), -1).sum(1).max(initial=0) * np.abs(x).max(initial=0)
        bias = np.abs(call.weights[1]).max(initial=0) if len(call.weights) > 1 else 0.0
        return bool((terms + bias) / (steps[0] * steps[1]) < self.limit)  # type: ignore[operator]

    def _errors(self, node: Node, call: LayerCall, values: LayerValues) -> tuple[Array, ...]:
        """|W| e for an error e of what the node reads, and its own budget."""
        own = forward_budget(Setting(call, values, self.case.policy, reference())).outputs
        held = tuple(self.errors.get(v, np.zeros_like(x)) for v, x in zip(node.inputs, call.inputs, strict=True))
        weights = tuple(np.abs(w) if w.ndim > 1 else np.zeros_like(w) for w in call.weights)
        moved = reference().forward(LayerCall(call.layer, held, weights)).outputs
        return tuple(np.abs(e) + np.broadcast_to(b.sharp, e.shape) for e, b in zip(moved, own, strict=True))

    def _cut(self, node: Node) -> None:
        self.cut.append(node.name)
        generator = self.generator(f"{node.name} cut")
        for name, shape in zip(
            output_names(self.graph, node), self.graph.output_shapes(node, self.case.size), strict=True
        ):
            if self.graph.dtypes[name] != "float":
                raise InexactError(f"{node.name} ({node.layer.kind}) gives integers that depend on inexact values")
            self.values[name] = generator.integers(1, INPUTS + 1, shape).astype(np.float64)


def _as_operand(x: Array, case: Case) -> Array:
    """The operands as products take them: rounded to as many bits as the policy's products have."""
    roundoff = max(case.policy.product_roundoff, case.policy.storage_roundoff)
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(mantissa / roundoff) * roundoff, exponent))


def _largest(case: Case, graph: Graph, draw: str) -> float:
    """How large ordinary values may be, so that no sum of products leaves the integers that the accumulator holds."""
    policy = case.policy
    most = INTEGERS[policy.accumulator_roundoff] / 2
    terms, spread, found = 4.0, 1.0, roles(graph)
    for node in graph.nodes:
        if isinstance(node.layer, Conv | Linear):
            shape = node.layer.weights(graph.input_shapes(node))[0].shape
            count = math.prod(shape[1:])
            if shape[1] == 1 and "bounded" not in found.values():  # else what it reads is small
                spread = max(spread, count + 1.0)
            elif draw == "dense":
                terms = max(terms, 1.5 * count)
    narrow = 1 / max(policy.product_roundoff, policy.storage_roundoff) / 4
    return float(2.0 ** math.floor(math.log2(min(LARGEST, most / terms / spread, narrow))))


def _followed(graph: Graph) -> frozenset[str]:
    """The nodes after which only such kinds come to which an error can be followed."""
    readers = graph.consumers()
    found: set[str] = set()
    for node in reversed(graph.nodes):
        after = [n for value in output_names(graph, node) for n in readers.get(value, [])]
        if node.layer.kind in FOLLOWED and all(n.name in found for n in after):
            found.add(node.name)
    return frozenset(found)
