"""Budgets of arithmetic on single values: a few units in the last place, and conditioning of the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION
from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    exact,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    roundings,
)
from cnnbench.numerics.budgets.exact import exact_outputs
from cnnbench.numerics.hard_operands import Hardness, hard_operands, no_hard_operands, of_every_size, of_every_square
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import to_storage
from cnnbench.spec.layers.arithmetic import Affine, Clip

Array = NDArray[Any]

CHOICES = ("abs", "negate", "sign", "floor", "ceil", "round")  # exact, forward and gradient
ROUNDED = ("square", "sqrt", "reciprocal")  # correctly rounded by IEEE 754, and a few units more admitted

exact_on_integers("parameter")
exact_on_integers("elementwise", when=lambda layer, inputs: layer.function in (*CHOICES, "square"))
exact_on_integers("scalar_affine", when=lambda layer, inputs: _small_integers(layer.scale, layer.shift))
exact_on_integers("clip", when=lambda layer, inputs: _small_integers(layer.minimum or 0.0, layer.maximum or 0.0))
exact_on_integers("scalar_power", when=lambda layer, inputs: layer.exponent in (1, 2))

forward_formula("parameter")(exact_outputs)


def _small_integers(*numbers: float) -> bool:
    return all(number == math.floor(number) and abs(number) <= 3 for number in numbers)


hard_operands("clip")(of_every_size)
hard_operands("scalar_affine")(of_every_square)
no_hard_operands("parameter", because="it has no operand")
_DOMAIN_ENDS_AT_1 = ("asin", "acos", "atanh")
_POSITIVE = ("log", "sqrt", "rsqrt")


@hard_operands("elementwise")
def hard_arguments(call: LayerCall, hard: Hardness) -> LayerCall:
    """Arguments of every size in the function's domain; waves and powers of e get moderate ones."""
    name, shape = call.layer.fields()["function"], call.inputs[0].shape
    if name in CHOICES:
        return of_every_size(call, hard)
    most = hard.square if name in ("square", "reciprocal", *_POSITIVE, "log1p", "atan") else 80.0
    x = hard.every_size(shape, most=most, least=hard.square_root)
    if name in _POSITIVE:
        x = np.abs(x) + hard.square_root
    elif name in _DOMAIN_ENDS_AT_1:
        x = x / (1.0625 + np.abs(x))
    elif name == "log1p":
        x = np.where(x < 0, x / (1.0625 - x), x)
    elif name == "acosh":
        x = 1.0625 + np.abs(x)
    elif name == "reciprocal":
        x = np.where(x == 0, 1.0, x)
    return replace(call, inputs=(x,))


@hard_operands("scalar_power")
def hard_bases(call: LayerCall, hard: Hardness) -> LayerCall:
    """Bases whose powers stay within the type's range."""
    most = hard.square ** (1 / max(1.0, abs(call.layer.fields()["exponent"])))
    x = hard.every_size(call.inputs[0].shape, most=most, least=1 / most)
    return replace(call, inputs=(np.where(x == 0, 1.0, np.abs(x)),))


@gradient_formula("parameter")
def parameter_gradient(setting: GradientSetting) -> GradientBudget:
    """The cotangent itself."""
    return GradientBudget((), (exact(setting.u),))


# Where a function's value is lost by rounding inside a good implementation: the size of the error, in roundings,
# beside FUNCTION roundings of the value. sin, cos and tan reduce their argument by multiples of pi / 2.
_BESIDE: dict[str, Callable[[Array], Array]] = {
    "sin": lambda x: np.minimum(1, np.abs(x)),
    "cos": lambda x: np.minimum(1, np.abs(x)),
    "tan": lambda x: np.minimum(1, np.abs(x)) * (1 + np.tan(x) ** 2),
    "acos": lambda x: np.ones_like(x),  # pi / 2 - asin(x)
    "sinh": lambda x: np.abs(x * np.sinh(x)) / 4,  # exp(x - log 2), whose argument is rounded (JAX)
    "cosh": lambda x: np.abs(x * np.cosh(x)) / 4,
    "log": lambda x: np.minimum(1, np.abs(x - 1)),  # log2 of the significand times log 2, and the exponent's part
}


@forward_formula("elementwise")
def elementwise(setting: Setting) -> ForwardBudget:
    """|f| (few u), few u where an argument is reduced; a choice or IEEE's own operation has less."""
    u, name = setting.u, setting.layer.function
    size = np.abs(setting.values.outputs[0])
    if name in CHOICES:
        return ForwardBudget((exact(u),))
    if name in ROUNDED:
        return ForwardBudget((roundings(size, 1, u),))
    beside = _BESIDE.get(name, np.zeros_like)(setting.call.inputs[0])
    return ForwardBudget((both(lambda c: c(FUNCTION, u.stored) * (size + beside) + 4 * u.smallest),))


# |x f''(x)| + |f'(x)|, in roundings: a derivative is as good as the rounded intermediate values that it is made from.
_BENDS: dict[str, Callable[[Array], Array]] = {
    "expm1": lambda x: np.ones_like(x),  # made as y + 1, which cancels for negative x (PyTorch)
    "erf": lambda x: (1 + 2 * x * x) * 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "sin": lambda x: np.abs(np.cos(x)) + np.minimum(1, np.abs(x)),
    "cos": lambda x: np.abs(np.sin(x)) + np.minimum(1, np.abs(x)),
    "tan": lambda x: (1 + np.tan(x) ** 2) * (1 + 2 * np.abs(x * np.tan(x))),
    "rsqrt": lambda x: x**-1.5,  # y^3 / 2: three times the error of y
    "sinh": lambda x: np.abs(x * np.sinh(x)) / 4 + np.cosh(x),
    "cosh": lambda x: np.abs(x * np.cosh(x)) / 4 + np.abs(np.sinh(x)),
    "log1p": lambda x: (1 + np.abs(x / (1 + x))) / (1 + x),
    "asin": lambda x: (1 - x * x) ** -1.5,
    "acos": lambda x: (1 - x * x) ** -1.5,
    "atan": lambda x: (1 + 2 * x * x / (1 + x * x)) / (1 + x * x),
    "asinh": lambda x: 2 / np.sqrt(1 + x * x),
    "acosh": lambda x: x * x * np.abs(x * x - 1) ** -1.5,
    "atanh": lambda x: (1 - x * x) ** -2.0,
}


@gradient_formula("elementwise")
def elementwise_gradient(setting: GradientSetting) -> GradientBudget:
    """|g| (|f'| few u + |x f''| few u): the factors, and what a rounded intermediate value does to the derivative."""
    u, name, x = setting.u, setting.layer.function, setting.call.inputs[0]
    if name in CHOICES:
        return GradientBudget((exact(u),))
    size = np.abs(setting.gradients.inputs[0])
    if name in ROUNDED:
        return GradientBudget((roundings(size, 4, u),))
    if name in _BENDS:
        size = size + np.abs(setting.cotangents[0]) * _BENDS[name](x)
    return GradientBudget((both(lambda c: c(FUNCTION + 4, u.stored) * size + 4 * u.smallest),))


@forward_formula("scalar_affine")
def affine(setting: Setting) -> ForwardBudget:
    """A product and a sum of rounded constants: four roundings of |s x| + |t|."""
    layer: Affine = setting.layer
    size = np.abs(layer.scale * setting.call.inputs[0]) + abs(layer.shift)
    return ForwardBudget((roundings(size, 4, setting.u),))


@gradient_formula("scalar_affine")
def affine_gradient(setting: GradientSetting) -> GradientBudget:
    """A product with a rounded constant."""
    return GradientBudget((roundings(np.abs(setting.gradients.inputs[0]), 2, setting.u),))


@forward_formula("clip")
def clip(setting: Setting) -> ForwardBudget:
    """A choice; a limit that the storage type does not hold is rounded."""
    layer: Clip = setting.layer
    limits = np.asarray([limit for limit in (layer.minimum, layer.maximum) if limit is not None])
    lost = np.abs(to_storage(limits, setting.policy).astype(np.float64) - limits)
    floor = np.full(setting.values.outputs[0].shape, setting.u.smallest)
    for limit, own in zip(limits, lost, strict=True):
        floor += np.where(np.abs(setting.values.outputs[0] - limit) <= 2 * own, 2 * own, 0)
    return ForwardBudget((Budget(floor, floor),))


@gradient_formula("clip")
def clip_gradient(setting: GradientSetting) -> GradientBudget:
    """A choice; an input within a limit's rounding may fall on either side."""
    layer: Clip = setting.layer
    x, g = setting.call.inputs[0], np.abs(setting.cotangents[0])
    floor = np.full(x.shape, setting.u.smallest)
    for limit in (layer.minimum, layer.maximum):
        if limit is not None:
            own = abs(float(to_storage(np.asarray(limit), setting.policy)) - limit)
            floor += np.where((np.abs(x - limit) <= own) & (own > 0), g, 0)
    return GradientBudget((Budget(floor, floor),))


def power_size(y: Array, x: Array, exponent: Array | float) -> Array:
    """|y| (1 + |p log |x||): the error of a power computed as exp(p log x), in roundings.

    Args:
        y: x^p.
        x: The base.
        exponent: p.
    """
    with np.errstate(all="ignore"):
        reach = np.abs(exponent * np.log(np.abs(x)))
    return np.asarray(np.abs(y) * (1 + np.where(np.isfinite(reach), reach, 0)))


@forward_formula("scalar_power")
def power(setting: Setting) -> ForwardBudget:
    """|y| (few u) (1 + |p log |x||)."""
    u, layer = setting.u, setting.layer
    size = power_size(setting.values.outputs[0], setting.call.inputs[0], layer.exponent)
    return ForwardBudget((both(lambda c: c(FUNCTION, u.stored) * size + 4 * u.smallest),))


@gradient_formula("scalar_power")
def power_gradient(setting: GradientSetting) -> GradientBudget:
    """The same of p x^(p - 1)."""
    u, layer = setting.u, setting.layer
    size = power_size(setting.gradients.inputs[0], setting.call.inputs[0], layer.exponent - 1)
    return GradientBudget((both(lambda c: c(FUNCTION + 4, u.stored) * size + 4 * u.smallest),))
