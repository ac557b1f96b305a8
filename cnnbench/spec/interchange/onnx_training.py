"""Importers of ONNX's optimisers, one step of each written in primitives; the rate and the step are known numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.layers import Add
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.merge import Divide, Multiply, Subtract

_DOMAIN = "ai.onnx.preview.training"


class _Step:
    """Arithmetic on one tensor, each result a node of its own."""

    def __init__(self, node: OnnxNode, index: int) -> None:
        self._node, self._index, self._count = node, index, 0

    def _part(self) -> str:
        self._count += 1
        return f"tensor{self._index}_{self._count}"

    def scaled(self, x: Value, factor: float) -> Value:
        return x if factor == 1 else self._node.add(Affine(scale=factor), x, part=self._part())

    def shifted(self, x: Value, number: float) -> Value:
        return self._node.add(Affine(shift=number), x, part=self._part())

    def root(self, x: Value) -> Value:
        return self._node.add(Elementwise(function="sqrt"), x, part=self._part())

    def sum(self, x: Value, y: Value) -> Value:
        return self._node.add(Add(), x, y, part=self._part())

    def difference(self, x: Value, y: Value) -> Value:
        return self._node.add(Subtract(), x, y, part=self._part())

    def product(self, x: Value, y: Value) -> Value:
        return self._node.add(Multiply(), x, y, part=self._part())

    def quotient(self, x: Value, y: Value) -> Value:
        return self._node.add(Divide(), x, y, part=self._part())

    def regularized(self, x: Value, gradient: Value) -> Value:
        """gradient + norm_coefficient x."""
        factor = self._node.attribute("norm_coefficient", 0.0)
        return gradient if factor == 0 else self.sum(self.scaled(x, factor), gradient)


_Update = Callable[[OnnxNode, _Step, float, int, list[Value]], list[Value]]


def _optimizer(node: OnnxNode, slots: int, update: _Update) -> list[Result]:
    """Every tensor's update: the model lists all tensors, then all gradients, then each slot of all."""
    rate, count = node.scalar(0, "the learning rate"), int(node.scalar(1, "the step"))
    kinds = 2 + slots
    tensors = (len(node.inputs) - 2) // kinds
    rows = []
    for i in range(tensors):
        operands = [node.value(2 + i + tensors * kind) for kind in range(kinds)]
        rows.append(update(node, _Step(node, i), rate, count, operands))
    return [row[kind] for kind in range(1 + slots) for row in rows]


@importer("Momentum", domain=_DOMAIN)
def momentum(node: OnnxNode) -> list[Result]:
    """Momentum, plain or Nesterov's."""
    return _optimizer(node, 1, _momentum)


def _momentum(node: OnnxNode, step: _Step, rate: float, count: int, operands: list[Value]) -> list[Value]:
    x, gradient, velocity = operands
    g = step.regularized(x, gradient)
    alpha, beta = node.attribute("alpha"), node.attribute("beta") if count > 0 else 1.0
    new = step.sum(step.scaled(velocity, alpha), step.scaled(g, beta))
    direction = step.sum(g, step.scaled(new, alpha)) if node.attribute("mode") == "nesterov" else new
    return [step.difference(x, step.scaled(direction, rate)), new]


@importer("Adagrad", domain=_DOMAIN)
def adagrad(node: OnnxNode) -> list[Result]:
    """Adagrad."""
    return _optimizer(node, 1, _adagrad)


def _adagrad(node: OnnxNode, step: _Step, rate: float, count: int, operands: list[Value]) -> list[Value]:
    x, gradient, squares = operands
    rate /= 1 + count * node.attribute("decay_factor", 0.0)
    g = step.regularized(x, gradient)
    new = step.sum(squares, step.product(g, g))
    divisor = step.shifted(step.root(new), node.attribute("epsilon", 1e-6))
    return [step.difference(x, step.quotient(step.scaled(g, rate), divisor)), new]


@importer("Adam", domain=_DOMAIN)
def adam(node: OnnxNode) -> list[Result]:
    """Adam, its correction of the moments taken into the rate."""
    return _optimizer(node, 2, _adam)


def _adam(node: OnnxNode, step: _Step, rate: float, count: int, operands: list[Value]) -> list[Value]:
    x, gradient, first, second = operands
    alpha, beta = node.attribute("alpha", 0.9), node.attribute("beta", 0.999)
    g = step.regularized(x, gradient)
    mean = step.sum(step.scaled(first, alpha), step.scaled(g, 1 - alpha))
    square = step.sum(step.scaled(second, beta), step.scaled(step.product(g, g), 1 - beta))
    if count > 0:
        rate *= math.sqrt(1 - beta**count) / (1 - alpha**count)
    divisor = step.shifted(step.root(square), node.attribute("epsilon", 1e-6))
    new = step.difference(x, step.scaled(step.quotient(mean, divisor), rate))
    return [step.scaled(new, 1 - node.attribute("norm_coefficient_post", 0.0)), mean, square]
