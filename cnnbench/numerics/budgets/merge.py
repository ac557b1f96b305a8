"""Budgets of layers that join values: few roundings, and in gradients the sums over repeated axes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION
from cnnbench.numerics.budgets.arithmetic import power_size
from cnnbench.numerics.budgets.base import (
    SPARE,
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
from cnnbench.numerics.hard_operands import Hardness, hard_operands, of_every_size, of_every_square
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import Roundoff

Array = NDArray[Any]

exact_on_integers("multiply", "subtract", "minimum", "maximum", "select")
exact_on_integers("mean", when=lambda layer, inputs: len(inputs) in (1, 2, 4))


hard_operands("minimum", "maximum", "select", "concat", "mean")(of_every_size)
hard_operands("multiply")(of_every_square)

forward_formula("minimum", "maximum", "select", "concat")(exact_outputs)


@hard_operands("power")
def hard_power(call: LayerCall, hard: Hardness) -> LayerCall:
    """Positive bases and exponents of both signs whose powers are finite."""
    base, exponent = (hard.every_size(x.shape, most=13.0, least=1 / 13) for x in call.inputs)
    return replace(call, inputs=(np.where(base == 0, 1.0, np.abs(base)), np.clip(exponent, -4.0, 4.0)))


@hard_operands("add", "subtract")
def hard_sum(call: LayerCall, hard: Hardness) -> LayerCall:
    """Operands of every size, half of which all but cancel the first one."""
    first = hard.every_size(call.inputs[0].shape)
    others = [hard.every_size(x.shape) for x in call.inputs[1:]]
    sign = 1.0 if call.layer.kind == "subtract" else -1.0
    if others and others[0].shape == first.shape:
        near = sign * first * (1 + 1e-5 * hard.normal(first.shape))
        others[0] = np.where(hard.generator.random(first.shape) < 0.5, near, others[0])
    return replace(call, inputs=(first, *others))


@hard_operands("divide")
def hard_quotient(call: LayerCall, hard: Hardness) -> LayerCall:
    """Numerators and divisors of every size for which a / b^2 stays within the range, and divisors of 0."""
    most = hard.cube
    return replace(call, inputs=tuple(hard.every_size(x.shape, most=most, least=1 / most) for x in call.inputs))


@forward_formula("add")
def add(setting: Setting) -> ForwardBudget:
    """k - 1 roundings of partial sums, each at most sum |x_i|."""
    inputs = setting.call.inputs
    return ForwardBudget((roundings(sum(map(np.abs, inputs), np.zeros(())), len(inputs) - 1, setting.u),))


@forward_formula("mean")
def mean(setting: Setting) -> ForwardBudget:
    """As ``add``, and a division."""
    inputs = setting.call.inputs
    size = sum(map(np.abs, inputs), np.zeros(())) / len(inputs)
    return ForwardBudget((roundings(size, len(inputs), setting.u),))


@forward_formula("subtract", "divide")
def one_operation(setting: Setting) -> ForwardBudget:
    """One rounding of the result, which IEEE 754 gives correctly rounded."""
    return ForwardBudget((roundings(np.abs(setting.values.outputs[0]), 1, setting.u),))


@forward_formula("multiply")
def multiply(setting: Setting) -> ForwardBudget:
    """k - 1 roundings."""
    return ForwardBudget((roundings(np.abs(setting.values.outputs[0]), len(setting.call.inputs) - 1, setting.u),))


@forward_formula("power")
def power(setting: Setting) -> ForwardBudget:
    """|y| (few u) (1 + |b log |a||)."""
    u = setting.u
    size = power_size(setting.values.outputs[0], *setting.call.inputs)
    return ForwardBudget((both(lambda c: c(FUNCTION, u.stored) * size + 4 * u.smallest),))


@gradient_formula("concat")
def concat_gradient(setting: GradientSetting) -> GradientBudget:
    """Values are moved, not computed."""
    return GradientBudget((exact(setting.u),) * len(setting.call.inputs))


def _repeated(setting: GradientSetting, position: int) -> int:
    """How many elements of the result read one element of an input."""
    own = setting.call.inputs[position].size
    return math.prod(setting.values.outputs[0].shape) // own if own else 1


def summed(size: Array, count: int, steps: float, u: Roundoff) -> Budget:
    """The budget of a sum.

    Args:
        size: Sum of the magnitudes of its terms.
        count: Of terms.
        steps: Roundings that each term has of its own.
        u: The policy's roundoffs.
    """
    if count <= 1 and not steps:
        return exact(u)
    spare = SPARE if steps else 0
    return both(
        lambda c: (
            np.abs(size) * min(c(steps + spare, u.stored) + c(count, u.accumulated), 1e300) + (count + 8) * u.smallest
        )
    )


@gradient_formula("add", "subtract", "minimum", "maximum", "select")
def chosen_gradient(setting: GradientSetting) -> GradientBudget:
    """The cotangent (or half of it, exactly), summed over repeated axes; S = sum |g|."""
    budgets = []
    for i, x in enumerate(setting.call.inputs):
        count = _repeated(setting, i)
        size = _summed_to(np.abs(setting.cotangents[0]), x.shape)
        budgets.append(exact(setting.u) if count == 1 else summed(size, count, 0, setting.u))
    return GradientBudget(tuple(budgets))


@gradient_formula("mean")
def mean_gradient(setting: GradientSetting) -> GradientBudget:
    """A division, and the sums over repeated axes."""
    number = len(setting.call.inputs)
    sizes = (_summed_to(np.abs(setting.cotangents[0]) / number, x.shape) for x in setting.call.inputs)
    return GradientBudget(tuple(summed(size, _repeated(setting, i), 2, setting.u) for i, size in enumerate(sizes)))


@gradient_formula("multiply")
def multiply_gradient(setting: GradientSetting) -> GradientBudget:
    """k - 1 roundings of g times the others, summed; S = sum |g| prod |x|."""
    inputs = setting.call.inputs
    budgets = []
    for i, x in enumerate(inputs):
        others = reduce(np.multiply, (*inputs[:i], *inputs[i + 1 :]))
        size = _summed_to(np.abs(setting.cotangents[0] * others), x.shape)
        budgets.append(summed(size, _repeated(setting, i), len(inputs), setting.u))
    return GradientBudget(tuple(budgets))


@gradient_formula("divide")
def divide_gradient(setting: GradientSetting) -> GradientBudget:
    """g / b with one rounding; g a / b^2 with three."""
    (a, b), g = setting.call.inputs, np.abs(setting.cotangents[0])
    of_a, of_b = _summed_to(np.abs(g / b), a.shape), _summed_to(np.abs(g * a / b**2), b.shape)
    u = setting.u
    return GradientBudget((summed(of_a, _repeated(setting, 0), 2, u), summed(of_b, _repeated(setting, 1), 4, u)))


@gradient_formula("power")
def power_gradient(setting: GradientSetting) -> GradientBudget:
    """The errors of b a^(b - 1) and of a^b log a, as of powers, summed."""
    (a, b), y = setting.call.inputs, setting.values.outputs[0]
    g, u = np.abs(setting.cotangents[0]), setting.u
    with np.errstate(all="ignore"):
        slope = power_size(np.where(b == 0, 0, b * a ** (b - 1)), a, b - 1)
        rise = power_size(np.where(a > 0, y * np.log(np.where(a > 0, a, 1)), 0), a, b)
        rise = rise + np.where(a > 0, np.abs(y) * np.minimum(1, np.abs(a - 1)), 0)  # log's own error near 1
    budgets = []
    for i, (x, terms) in enumerate(((a, slope), (b, rise))):
        budgets.append(summed(_summed_to(g * terms, x.shape), _repeated(setting, i), FUNCTION + 4, u))
    return GradientBudget(tuple(budgets))


def _summed_to(terms: Array, shape: tuple[int, ...]) -> Array:
    axes = tuple(i for i, (size, own) in enumerate(zip(terms.shape, shape, strict=True)) if own == 1 and size != 1)
    return np.asarray(terms.sum(axis=axes, keepdims=True))
