"""Reference ops that join several values: element by element, by selection, by concatenation."""

from __future__ import annotations

from functools import reduce
from itertools import accumulate
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Add, Concat
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Minimum, Multiply, PowerOf, Select, Subtract
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


def reduced_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of a value of ``shape`` from that of its broadcast form: summed over the repeated axes."""
    axes = tuple(i for i, (size, own) in enumerate(zip(gradient.shape, shape, strict=True)) if own == 1 and size != 1)
    return np.asarray(gradient.sum(axis=axes, keepdims=True)) if axes else gradient


def _all_reduced(gradients: Arrays, shapes: tuple[tuple[int, ...], ...]) -> Gradients:
    return Gradients(tuple(reduced_to(g, shape) for g, shape in zip(gradients, shapes, strict=True)))


def _shapes(values: Arrays) -> tuple[tuple[int, ...], ...]:
    return tuple(value.shape for value in values)


def add_backward(layer: Add, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Every operand gets the whole gradient."""
    return _all_reduced(gradients * len(saved), saved)


@REFERENCE.register("add", backward=add_backward)
def add(layer: Add, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum from left to right."""
    return OpResult((reduce(np.add, inputs),), saved=_shapes(inputs))


def multiply_backward(layer: Multiply, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each operand gets the gradient times all the others."""
    others = (reduce(np.multiply, (*saved[:i], *saved[i + 1 :])) for i in range(len(saved)))
    return _all_reduced(tuple(gradients[0] * other for other in others), _shapes(saved))


@REFERENCE.register("multiply", backward=multiply_backward)
def multiply(layer: Multiply, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The product from left to right."""
    return OpResult((reduce(np.multiply, inputs),), saved=inputs)


def subtract_backward(layer: Subtract, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy and -dy."""
    return _all_reduced((gradients[0], -gradients[0]), saved)


@REFERENCE.register("subtract", backward=subtract_backward)
def subtract(layer: Subtract, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """a - b."""
    return OpResult((inputs[0] - inputs[1],), saved=_shapes(inputs))


def divide_backward(layer: Divide, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy / b and -dy a / b^2."""
    a, b = saved
    with np.errstate(all="ignore"):
        scaled = gradients[0] / b
        return _all_reduced((scaled, -scaled * (a / b)), _shapes(saved))


@REFERENCE.register("divide", backward=divide_backward)
def divide(layer: Divide, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """a / b."""
    with np.errstate(all="ignore"):
        return OpResult((inputs[0] / inputs[1],), saved=inputs)


def power_backward(layer: PowerOf, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """b a^(b - 1) dy, 0 where b is 0; a^b log(a) dy where a > 0, else 0."""
    a, b, y = saved
    with np.errstate(all="ignore"):
        of_base = np.where(b == 0, 0, b * a ** (b - 1)) * gradients[0]
        of_exponent = np.where(a > 0, y * np.log(np.where(a > 0, a, 1)), 0) * gradients[0]
    return _all_reduced((of_base, of_exponent), _shapes((a, b)))


@REFERENCE.register("power", backward=power_backward)
def power(layer: PowerOf, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """a ** b."""
    with np.errstate(all="ignore"):
        y = inputs[0] ** inputs[1]
    return OpResult((y,), saved=(*inputs, y))


def extreme_backward(layer: Maximum, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Backwards through the pairs: the winner gets the gradient, equal values half of it each."""
    inputs, partial = saved
    cotangent = gradients[0]
    found: list[Array] = []
    for value, before, after in zip(inputs[:0:-1], partial[-2::-1], partial[:0:-1], strict=True):
        cotangent = reduced_to(cotangent, after.shape)
        equal = value == before
        found.append(cotangent * np.where(equal, 0.5, after == value).astype(cotangent.dtype))
        cotangent = cotangent * np.where(equal, 0.5, after == before).astype(cotangent.dtype)
    return _all_reduced((cotangent, *reversed(found)), _shapes(inputs))


def _extreme(choose: np.ufunc, inputs: Arrays) -> OpResult:
    partial = list(accumulate(inputs, choose))
    return OpResult((partial[-1].copy(),), saved=(inputs, partial))


@REFERENCE.register("maximum", backward=extreme_backward)
def maximum(layer: Maximum, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The largest, pair by pair."""
    return _extreme(np.maximum, inputs)


@REFERENCE.register("minimum", backward=extreme_backward)
def minimum(layer: Minimum, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The least, pair by pair."""
    return _extreme(np.minimum, inputs)


def mean_backward(layer: Mean, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Every operand gets its share."""
    return _all_reduced((gradients[0] / len(saved),) * len(saved), saved)


@REFERENCE.register("mean", backward=mean_backward)
def mean(layer: Mean, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum from left to right over the number of operands."""
    return OpResult((reduce(np.add, inputs) / len(inputs),), saved=_shapes(inputs))


def select_backward(layer: Select, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient goes to what was selected."""
    condition, shapes = saved
    dy = gradients[0]
    return Gradients(
        (None, reduced_to(np.where(condition, dy, 0), shapes[0]), reduced_to(np.where(condition, 0, dy), shapes[1]))
    )


@REFERENCE.register("select", backward=select_backward)
def select(layer: Select, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """a where the condition is not 0, else b."""
    condition = inputs[0] != 0
    return OpResult((np.where(condition, inputs[1], inputs[2]),), saved=(condition, _shapes(inputs[1:])))


def concat_backward(layer: Concat, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each operand gets its own part."""
    axis, ends = saved
    return Gradients(tuple(np.split(gradients[0], ends, axis=axis)))


@REFERENCE.register("concat", backward=concat_backward)
def concat(layer: Concat, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The operands one after the other along ``axis``."""
    axis = call.axis(layer.axis, inputs[0].ndim)
    ends = np.cumsum([value.shape[axis] for value in inputs[:-1]])
    return OpResult((np.concatenate(inputs, axis=axis),), saved=(axis, ends))
