"""Reference arithmetic on single values: parameters, element-wise functions, affine maps, clips and powers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Parameter, Power
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays

_ERF = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function, which NumPy has not: the C library's, one value at a time."""
    return np.asarray(_ERF(x), x.dtype)


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "negate": np.negative,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "square": np.square,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "erf": erf,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}

# The derivative of each function at x; y is its value.
DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "abs": lambda x, y: np.sign(x),
    "negate": lambda x, y: -np.ones_like(x),
    "sign": lambda x, y: np.zeros_like(x),
    "floor": lambda x, y: np.zeros_like(x),
    "ceil": lambda x, y: np.zeros_like(x),
    "round": lambda x, y: np.zeros_like(x),
    "square": lambda x, y: 2 * x,
    "sqrt": lambda x, y: 0.5 / y,
    "rsqrt": lambda x, y: -0.5 * y / x,
    "reciprocal": lambda x, y: -y * y,
    "exp": lambda x, y: y,
    "expm1": lambda x, y: np.exp(x),
    "log": lambda x, y: 1 / x,
    "log1p": lambda x, y: 1 / (1 + x),
    "erf": lambda x, y: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "sin": lambda x, y: np.cos(x),
    "cos": lambda x, y: -np.sin(x),
    "tan": lambda x, y: 1 + y * y,
    "asin": lambda x, y: 1 / np.sqrt((1 - x) * (1 + x)),
    "acos": lambda x, y: -1 / np.sqrt((1 - x) * (1 + x)),
    "atan": lambda x, y: 1 / (1 + x * x),
    "sinh": lambda x, y: np.cosh(x),
    "cosh": lambda x, y: np.sinh(x),
    "asinh": lambda x, y: 1 / np.sqrt(x * x + 1),
    "acosh": lambda x, y: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    "atanh": lambda x, y: 1 / ((1 - x) * (1 + x)),
}


def parameter_backward(layer: Parameter, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient is the value's."""
    return Gradients((), gradients)


@REFERENCE.register("parameter", backward=parameter_backward)
def parameter(layer: Parameter, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The value itself."""
    return OpResult(weights)


def elementwise_backward(layer: Elementwise, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """f'(x) dy."""
    with np.errstate(all="ignore"):
        return Gradients((DERIVATIVES[layer.function](*saved) * gradients[0],))


@REFERENCE.register("elementwise", backward=elementwise_backward)
def elementwise(layer: Elementwise, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """f(x); NaN outside of the function's domain."""
    with np.errstate(all="ignore"):
        y = FUNCTIONS[layer.function](inputs[0])
    return OpResult((y,), saved=(inputs[0], y))


def affine_backward(layer: Affine, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """scale * dy."""
    return Gradients((layer.scale * gradients[0],))


@REFERENCE.register("scalar_affine", backward=affine_backward)
def affine(layer: Affine, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """scale * x + shift."""
    return OpResult((layer.scale * inputs[0] + layer.shift,))


def clip_backward(layer: Clip, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy within the limits, which belong to it."""
    return Gradients((np.where(saved, gradients[0], 0),))


@REFERENCE.register("clip", backward=clip_backward)
def clip(layer: Clip, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """min(max(x, minimum), maximum); NaN stays."""
    x = inputs[0]
    inside = np.ones(x.shape, bool)
    y = x
    if layer.minimum is not None:
        inside &= ~(x < layer.minimum)
        y = np.maximum(y, layer.minimum)
    if layer.maximum is not None:
        inside &= ~(x > layer.maximum)
        y = np.minimum(y, layer.maximum)
    return OpResult((y,), saved=inside)


def power_backward(layer: Power, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """p x^(p - 1) dy."""
    if layer.exponent == 0:
        return Gradients((np.zeros_like(saved),))
    with np.errstate(all="ignore"):
        return Gradients((layer.exponent * saved ** (layer.exponent - 1) * gradients[0],))


@REFERENCE.register("scalar_power", backward=power_backward)
def power(layer: Power, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x ** p."""
    with np.errstate(all="ignore"):
        return OpResult((inputs[0] ** layer.exponent,), saved=inputs[0])
