"""Budgets of p-norm pooling: a power, a sum and a root, each with its relative error."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.budgets.pooling import windows_per_input
from cnnbench.numerics.hard_operands import Hardness, hard_operands
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.ties import Backward, Hull, ties_of

Array = NDArray[Any]
Factor = Any  # c(n, u): the sharp factor or gamma


def _logarithm(x: Array) -> Array:
    """|log |x||, 0 where x is 0: a power computed as exp(q log x) rounds its argument, which is that long."""
    return np.asarray(np.abs(np.log(np.where(x == 0, 1.0, np.abs(x)))))


def _power_error(x: Array, power: float, c: Factor, u: float) -> Array:
    """Relative error of |x|^power: a few roundings, and for other powers than 0, 1 and 2 those of q log |x|."""
    general = 0.0 if power in (0, 1, 2) else abs(power)
    return np.asarray(c(3, u) + c(1, u) * general * _logarithm(x))


def _relative(setting: Setting, c: Factor) -> Array:
    """Relative error of a norm: that of its sum, sum |x|^p (K roundings and the powers'), over p; and of the root."""
    layer, x, y, u = setting.layer, setting.call.inputs[0], setting.values.outputs[0], setting.u
    terms = np.abs(x) ** layer.p
    adder = replace(layer, p=1.0, absolute=True)
    count = math.prod(layer.window().kernel_size) + 1
    moved = terms * (_power_error(x, layer.p, c, u.stored) + c(count, u.accumulated))
    error = setting.reference.forward(replace(setting.call, layer=adder, inputs=(moved,))).outputs[0]
    total = np.abs(y) ** layer.p
    relative = error / (layer.p * np.where(total == 0, 1.0, total)) + _power_error(total, 1 / layer.p, c, u.stored)
    return np.asarray(np.where(total == 0, 0.0, relative))


@ties_of("lp_pool")
def at_zero(backward: Backward) -> Hull | None:
    """sign(0), for p = 1: anything from -1 to 1 times what a positive value would get."""
    if backward.layer.p != 1 or not backward.layer.absolute:
        return None
    x = backward.x
    beside = replace(backward.call, inputs=(np.where(x == 0, 1.0, x),))
    slope = reference().gradient(beside, (backward.cotangent,)).inputs[0]
    return backward.between(x == 0, -slope, slope)


@hard_operands("lp_pool")
def hard_windows(call: LayerCall, hard: Hardness) -> LayerCall:
    """Values whose powers stay within the type's range, of every size; positive ones where plain powers are taken."""
    most = (hard.square / 16) ** (2 / max(2.0, call.layer.fields()["p"]))
    x = hard.every_size(call.inputs[0].shape, most=most, least=1 / most)
    return replace(call, inputs=(x if call.layer.fields()["absolute"] else np.abs(x),))


@forward_formula("lp_pool")
def lp_pool(setting: Setting) -> ForwardBudget:
    """|y| times the relative error of the sum over p, plus the root's and the result's roundings."""
    size, u = np.abs(setting.values.outputs[0]), setting.u
    return ForwardBudget((both(lambda c: size * (_relative(setting, c) + c(2, u.stored)) + 8 * u.smallest),))


@gradient_formula("lp_pool")
def lp_pool_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = x |x|^(p - 2) sum of dy y^(1 - p) over windows: p - 1 times a norm's relative error, and the factors'."""
    layer, x, u = setting.layer, setting.call.inputs[0], setting.u
    y, cotangent = setting.values.outputs[0], np.abs(setting.cotangents[0])
    count = windows_per_input(layer, x.shape[2:]) + 4

    def gradient_size(weights: Array) -> Array:
        """|dx| for cotangents |dy| times these."""
        gradient = setting.reference.gradient(setting.call, (cotangent * weights,))
        return np.asarray(np.abs(gradient.inputs[0]))

    size = gradient_size(np.ones_like(y))

    def error(c: Factor) -> Array:
        shares = (layer.p - 1) * _relative(setting, c) + _power_error(y, 1 - layer.p, c, u.stored)
        own = c(count, u.accumulated) + c(4, u.stored) + _power_error(x, layer.p - 1, c, u.stored)
        return np.asarray(gradient_size(shares) + own * size + (count + 4) * u.smallest)

    budget: Budget = both(error)
    return GradientBudget((budget,))
