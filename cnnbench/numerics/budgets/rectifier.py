"""Budgets of rectifiers: choices are exact, lines are a few roundings; at a corner either slope is admitted."""

from __future__ import annotations

import math
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
    exact,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    roundings,
    sum_of_products,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs
from cnnbench.numerics.hard_operands import hard_operands, of_every_size
from cnnbench.numerics.ties import Backward, Hull, ties_of

Array = NDArray[Any]

hard_operands("hard_sigmoid", "hard_swish", "leaky_relu", "prelu", "relu6", "shrink", "thresholded_relu")(of_every_size)

exact_on_integers("relu6", "prelu", "thresholded_relu")
exact_on_integers("leaky_relu", when=lambda layer, inputs: layer.negative_slope % 1 == 0)
exact_on_integers("shrink", when=lambda layer, inputs: layer.bias % 1 == 0)

forward_formula("relu6", "thresholded_relu")(exact_outputs)
gradient_formula("relu6", "thresholded_relu", "shrink")(exact_gradients)


@ties_of("leaky_relu")
def _leaky_at_zero(backward: Backward) -> Hull:
    return backward.slopes(backward.x == 0, backward.layer.negative_slope, 1.0)


@ties_of("prelu")
def _prelu_at_zero(backward: Backward) -> Hull:
    slope = backward.call.weights[0].reshape(1, -1, *(1,) * (backward.x.ndim - 2))
    return backward.slopes(backward.x == 0, slope, 1.0)


@ties_of("relu6")
def _at_zero_or_six(backward: Backward) -> Hull:
    return backward.slopes((backward.x == 0) | (backward.x == 6), 0.0, 1.0)


@ties_of("hard_swish")
def _at_three(backward: Backward) -> Hull:
    """From 0 to (2 x + 3) / 6 at -3, from there to 1 at 3."""
    x = backward.x
    return backward.slopes(np.abs(x) == 3, (2 * x + 3) / 6, np.where(x > 0, 1.0, 0.0))


@ties_of("hard_sigmoid")
def _at_the_ends(backward: Backward) -> Hull:
    line = backward.layer.slope * backward.x + backward.layer.offset
    return backward.slopes((line == 0) | (line == 1), 0.0, backward.layer.slope)


@forward_formula("leaky_relu", "prelu")
def slope(setting: Setting) -> ForwardBudget:
    """One rounding of the product, and one of the slope where it is a constant; the upper half is a choice."""
    y, positive = np.abs(setting.values.outputs[0]), setting.call.inputs[0] > 0
    return ForwardBudget((roundings(np.where(positive, 0, y), 2, setting.u),))


@gradient_formula("leaky_relu")
def leaky_relu_gradient(setting: GradientSetting) -> GradientBudget:
    """As forward."""
    positive = setting.call.inputs[0] > 0
    size = np.where(positive, 0, np.abs(setting.gradients.inputs[0]))
    return GradientBudget((roundings(size, 2, setting.u),))


@gradient_formula("prelu")
def prelu_gradient(setting: GradientSetting) -> GradientBudget:
    """dx as forward; the slope's gradient is the sum of g x over negative x."""
    x, g = setting.call.inputs[0], setting.cotangents[0]
    dx = np.where(x > 0, 0, np.abs(setting.gradients.inputs[0]))
    axes = (0, *range(2, x.ndim)) if setting.layer.slopes == "channel" else tuple(range(x.ndim))
    count = math.prod(x.shape[axis] for axis in axes)
    total = np.where(x > 0, 0, np.abs(g * x)).sum(axis=axes).reshape(setting.call.weights[0].shape)
    weight = sum_of_products(total, count + 1, setting.u, rounded=2 * total, squares=None)
    return GradientBudget((roundings(dx, 2, setting.u),), (weight,))


@forward_formula("shrink")
def shrink(setting: Setting) -> ForwardBudget:
    """One rounding of the difference, one of the bias; hard shrinkage is a choice."""
    if setting.layer.bias == 0:
        return ForwardBudget((exact(setting.u),))
    chosen = setting.values.outputs[0] != 0
    size = np.where(chosen, np.abs(setting.call.inputs[0]) + abs(setting.layer.bias), 0)
    return ForwardBudget((roundings(size, 2, setting.u),))


def _line(layer: Any, x: Array, u: Any) -> tuple[Array, Budget]:
    """slope x + offset and its error: three roundings of |slope x| + |offset|."""
    return layer.slope * x + layer.offset, roundings(np.abs(layer.slope * x) + abs(layer.offset), 3, u)


@forward_formula("hard_sigmoid")
def hard_sigmoid(setting: Setting) -> ForwardBudget:
    """The line's error where the line is taken, or might be; and a rounding of the result."""
    line, error = _line(setting.layer, setting.call.inputs[0], setting.u)

    def between(budget: Array) -> Array:
        return np.where((line > -budget) & (line < 1 + budget), budget, setting.u.stored)

    return ForwardBudget((Budget(between(error.sharp), between(error.worst)),))


@gradient_formula("hard_sigmoid")
def hard_sigmoid_gradient(setting: GradientSetting) -> GradientBudget:
    """Two roundings of slope g; all of it where the line's error can move it over a corner."""
    line, error = _line(setting.layer, setting.call.inputs[0], setting.u)
    size = np.abs(setting.layer.slope * setting.cotangents[0])
    own = roundings(size, 2, setting.u)

    def cornered(budget: Array, line_error: Array) -> Array:
        near = np.minimum(np.abs(line), np.abs(line - 1)) <= line_error
        return budget + np.where(near, size, 0)

    return GradientBudget((Budget(cornered(own.sharp, error.sharp), cornered(own.worst, error.worst)),))


@forward_formula("hard_swish")
def hard_swish(setting: Setting) -> ForwardBudget:
    """Four roundings of |x| min((|x| + 3) / 6, 1)."""
    size = np.abs(setting.call.inputs[0])
    return ForwardBudget((roundings(size * np.minimum((size + 3) / 6, 1), 4, setting.u),))


@gradient_formula("hard_swish")
def hard_swish_gradient(setting: GradientSetting) -> GradientBudget:
    """Five roundings of |g| (2 |x| + 3) / 6 between the corners, and the jump of 1/2 within a rounding of a corner."""
    u, size, g = setting.u, np.abs(setting.call.inputs[0]), np.abs(setting.cotangents[0])

    def error(c: Any) -> Array:
        near = np.abs(size - 3) <= 6 * c(2, u.stored)
        inner = np.where(size > 3, 1, (2 * size + 3) / 6)
        return np.asarray(g * (c(8, u.stored) * inner + np.where(near, 0.5, 0)) + 8 * u.smallest)

    return GradientBudget((both(error),))
