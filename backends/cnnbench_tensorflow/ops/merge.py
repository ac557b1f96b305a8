"""Layers that join several values: element by element, by selection, by concatenation."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Add, Concat
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Minimum, Multiply, PowerOf, Select, Subtract
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("add")
def add(layer: Add, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The sum from left to right."""
    return OpResult((reduce(tf.add, inputs),))


@OPERATIONS.register("concat")
def concat(layer: Concat, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The values joined along the axis."""
    return OpResult((tf.concat(inputs, call.axis(layer.axis, inputs[0].shape.rank)),))


@OPERATIONS.register("multiply")
def multiply(layer: Multiply, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The product from left to right."""
    return OpResult((reduce(tf.multiply, inputs),))


@OPERATIONS.register("subtract")
def subtract(layer: Subtract, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """a - b."""
    return OpResult((tf.subtract(inputs[0], inputs[1]),))


@OPERATIONS.register("divide")
def divide(layer: Divide, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """a / b."""
    return OpResult((tf.divide(inputs[0], inputs[1]),))


@OPERATIONS.register("power")
def power(layer: PowerOf, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.pow``; the base's gradient for the exponent 0, NaN there at 0, is taken out."""
    a, b = inputs
    return OpResult((tf.pow(tf.where(tf.equal(b, 0), tf.stop_gradient(a), a), b),))


def _halving(choose: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A choice between two values whose gradient two equal ones share; TensorFlow's own gives it to the first."""

    @tf.custom_gradient
    def pair(a: Any, b: Any) -> Any:
        y = choose(a, b)

        def gradient(dy: Any) -> tuple[Any, Any]:
            equal = tf.cast(tf.equal(a, b), dy.dtype) / 2
            of_a = dy * (tf.cast(tf.equal(y, a), dy.dtype) - equal)
            of_b = dy * (tf.cast(tf.equal(y, b), dy.dtype) - equal)
            return _summed_to(of_a, a.shape), _summed_to(of_b, b.shape)

        return y, gradient

    return pair


def _summed_to(gradient: Any, shape: Any) -> Any:
    axes = [i for i, (size, own) in enumerate(zip(gradient.shape, shape, strict=True)) if own == 1 and size != 1]
    return tf.reduce_sum(gradient, axes, keepdims=True) if axes else gradient


@OPERATIONS.register("maximum")
def maximum(layer: Maximum, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.maximum``, pair by pair."""
    return OpResult((reduce(_halving(tf.maximum), inputs),))


@OPERATIONS.register("minimum")
def minimum(layer: Minimum, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.minimum``, pair by pair."""
    return OpResult((reduce(_halving(tf.minimum), inputs),))


@OPERATIONS.register("mean")
def mean(layer: Mean, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The sum over the number of values."""
    return OpResult((reduce(tf.add, inputs) / len(inputs),))


@OPERATIONS.register("select")
def select(layer: Select, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.where``."""
    return OpResult((tf.where(tf.not_equal(inputs[0], 0), inputs[1], inputs[2]),))
