"""Arithmetic on single values: parameters, element-wise functions, affine maps, clips and powers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Parameter, Power
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@tf.custom_gradient
def _corrected_log1p(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Kahan's correction, u = 1 + x as it is rounded: log(u) x / (u - 1)."""
    u = 1 + x
    difference = u - 1
    exact = tf.equal(difference, 0) | tf.math.is_inf(u)
    one = tf.ones_like(x)
    corrected = tf.math.log(u) * (x / tf.where(exact, one, difference))
    return tf.where(exact, x, corrected), lambda g: g / (1 + x)


def log1p(x: Any) -> Any:
    """log(1 + x). XLA's own in float64 errs by a dozen budgets on the CPU (TensorFlow 2.21, near x = -0.41)."""
    return _corrected_log1p(x) if x.dtype == tf.float64 else tf.math.log1p(x)


def arctanh(x: Any) -> Any:
    """The inverse of tanh, of which XLA makes two ``log1p``."""
    return 0.5 * (log1p(x) - log1p(-x)) if x.dtype == tf.float64 else tf.atanh(x)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "abs": tf.abs,
    "negate": tf.negative,
    "sign": tf.sign,
    "floor": tf.floor,
    "ceil": tf.math.ceil,
    "round": tf.round,
    "square": tf.square,
    "sqrt": tf.sqrt,
    "rsqrt": tf.math.rsqrt,
    "reciprocal": tf.math.reciprocal,
    "exp": tf.exp,
    "expm1": tf.math.expm1,
    "log": tf.math.log,
    "log1p": log1p,
    "erf": tf.math.erf,
    "sin": tf.sin,
    "cos": tf.cos,
    "tan": tf.tan,
    "asin": tf.asin,
    "acos": tf.acos,
    "atan": tf.atan,
    "sinh": tf.sinh,
    "cosh": tf.cosh,
    "asinh": tf.asinh,
    "acosh": tf.acosh,
    "atanh": arctanh,
}


@OPERATIONS.register("parameter")
def parameter(layer: Parameter, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The value itself."""
    return OpResult(weights)


@OPERATIONS.register("elementwise")
def elementwise(layer: Elementwise, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The function of that name; ``tf.round`` takes halves to the even neighbour."""
    return OpResult((FUNCTIONS[layer.function](inputs[0]),))


@OPERATIONS.register("scalar_affine")
def affine(layer: Affine, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A product and a sum, without those that change nothing."""
    y = inputs[0] if layer.scale == 1 else inputs[0] * layer.scale
    return OpResult((y if layer.shift == 0 else y + layer.shift,))


@OPERATIONS.register("clip")
def clip(layer: Clip, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Choices by ``where``, which keep NaN and pass the gradient at a limit."""
    y = inputs[0]
    if layer.minimum is not None:
        y = tf.where(y < layer.minimum, tf.constant(layer.minimum, y.dtype), y)
    if layer.maximum is not None:
        y = tf.where(y > layer.maximum, tf.constant(layer.maximum, y.dtype), y)
    return OpResult((y,))


@OPERATIONS.register("scalar_power")
def power(layer: Power, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.pow``; the commonest exponents by ops of their own."""
    x = inputs[0]
    if layer.exponent == 2:
        return OpResult((tf.square(x),))
    if layer.exponent == 0.5:
        return OpResult((tf.sqrt(x),))
    if layer.exponent == 0:
        return OpResult((tf.ones_like(x),))
    return OpResult((tf.pow(x, tf.constant(layer.exponent, x.dtype)),))
