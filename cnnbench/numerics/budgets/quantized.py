"""Budgets of quantised values: none but where a quotient lies at a tie, and where a sum exceeds what floats hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    forward_formula,
    gradient_formula,
    roundings,
)
from cnnbench.numerics.budgets.conv import conv
from cnnbench.numerics.budgets.linear import matmul
from cnnbench.numerics.hard_operands import no_hard_operands
from cnnbench.numerics.rounding import gamma, sharp_factor
from cnnbench.spec.layers.quantized import Quantize

Array = NDArray[Any]

no_hard_operands(
    "dequantize", "integer_conv", "integer_matmul", "quantize", because="they compute on integers, exactly"
)
_QUOTIENT = 3  # roundings of x / scale, which may be made as x (1 / scale)


def _along(layer: Any, x: Array, numbers: Array) -> Array:
    if numbers.size == 1:
        return numbers.reshape(())
    shape = [1] * x.ndim
    shape[layer.axis] = -1
    return numbers.reshape(shape)


def _levels(layer: Quantize, quotient: Array, zero_point: Array) -> Array:
    levels: Array = np.clip(np.rint(quotient) + zero_point, layer.minimum, layer.maximum)
    return levels


@forward_formula("quantize")
def quantize(setting: Setting) -> ForwardBudget:
    """0, but one level where x / scale lies within its own rounding (3 u_a) of a tie; at a tie itself 0 where the scale
    is a power of two, by which every implementation divides exactly.
    """
    layer, u = setting.layer, setting.u
    x, scale, *rest = setting.call.inputs
    zero_point = _along(layer, x, rest[0]) if rest else np.zeros(())
    scale = _along(layer, x, scale)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = x / scale
        rounded = np.where(np.abs(np.frexp(scale)[0]) == 0.5, 0.0, np.abs(quotient))

        def within(error: float) -> Array:
            low, high = (_levels(layer, quotient + sign * error * rounded, zero_point) for sign in (-1, 1))
            admitted: Array = np.nan_to_num(high - low) + u.smallest
            return admitted

        u_a = min(u.accumulated, u.stored)
        return ForwardBudget((Budget(within(sharp_factor(_QUOTIENT, u_a)), within(gamma(_QUOTIENT, u_a))),))


@forward_formula("dequantize")
def dequantize(setting: Setting) -> ForwardBudget:
    """A difference and a product, each rounded."""
    return ForwardBudget((roundings(np.abs(setting.values.outputs[0]), 2, setting.u),))


def _exact_sums(setting: Setting, sums: ForwardBudget) -> ForwardBudget:
    """0 where every partial sum is an integer that the accumulator holds, whatever the order; else ``sums``."""
    u = setting.u
    operands = (*setting.call.inputs, *setting.call.weights)
    if not all(np.array_equal(array, np.rint(array)) for array in operands):
        return sums
    held = setting.magnitudes()[0] * u.accumulated < 1
    stored = roundings(np.abs(setting.values.outputs[0]), 0, u) if u.stored > u.accumulated else exact(u)
    (budget,) = sums.outputs
    return ForwardBudget((Budget(*(np.where(held, *pair) for pair in zip(stored, budget, strict=True))),))


@forward_formula("integer_conv")
def integer_conv(setting: Setting) -> ForwardBudget:
    """0 where S = |x| * |w| + |b| < 1 / u_a; else as ``conv``."""
    return _exact_sums(setting, conv(setting))


@forward_formula("integer_matmul")
def integer_matmul(setting: Setting) -> ForwardBudget:
    """0 where S = |A| |B| < 1 / u_a; else as ``matmul``."""
    return _exact_sums(setting, matmul(setting))


@gradient_formula("quantize", "dequantize", "integer_conv", "integer_matmul")
def no_gradient(setting: GradientSetting) -> GradientBudget:
    """No gradient."""
    weights = tuple(None for _ in setting.call.weights)
    return GradientBudget(tuple(exact(setting.u) for _ in setting.call.inputs), weights)
