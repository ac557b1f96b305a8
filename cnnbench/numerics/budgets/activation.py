"""Budgets of activations: a few units in the last place, and conditioning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs
from cnnbench.numerics.budgets.shared import of_rows
from cnnbench.numerics.hard_operands import Hardness, hard_operands, no_hard_operands, of_every_size
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import sharp_factor
from cnnbench.spec.layers.axes import resolve_axis

Array = NDArray[Any]

hard_operands("relu", "tanh", "sigmoid")(of_every_size)
no_hard_operands("hardmax", because="it chooses, and near ties go either way")

# What good exp, log and tanh in float32 err by, in roundings (1 ulp is at most 2 of them); libraries state up to 4 ulp.
FUNCTION = 8
# What a good sigmoid errs by is the same at each call, and no sum of random roundings: TensorFlow's by up to 8.4 (over
# 4 million values from each of ten stretches from -60 to 30), which 2 sqrt(20) = 8.9 covers.
SIGMOID = 20

forward_formula("relu")(exact_outputs)
gradient_formula("relu")(exact_gradients)


@forward_formula("tanh")
def tanh(setting: Setting) -> ForwardBudget:
    """A |t| (few u) + A |S x| (1 - t^2) u for the rounded argument."""
    u, layer, x = setting.u, setting.layer, setting.call.inputs[0]
    scaled = layer.input_scale * x
    t = np.tanh(scaled)
    bend = np.abs(scaled) * (1 - t * t)
    size = abs(layer.output_scale)
    return ForwardBudget(
        (both(lambda c: size * (c(FUNCTION + 2, u.stored) * np.abs(t) + c(2, u.stored) * bend) + 4 * u.smallest),)
    )


@gradient_formula("tanh")
def tanh_gradient(setting: GradientSetting) -> GradientBudget:
    """|g| A S (2 |t| dt + u t^2 + few u (1 - t^2)) with dt the error of t."""
    u, layer, x = setting.u, setting.layer, setting.call.inputs[0]
    scaled = layer.input_scale * x
    t = np.abs(np.tanh(scaled))
    bend = np.abs(scaled) * (1 - t * t)
    size = np.abs(setting.cotangents[0] * layer.output_scale * layer.input_scale)
    return GradientBudget(
        (
            both(
                lambda c: (
                    size
                    * (
                        2 * t * (c(FUNCTION + 2, u.stored) * t + c(2, u.stored) * bend)
                        + c(2, u.stored) * t * t
                        + c(6, u.stored) * (1 - t * t)
                    )
                    + 4 * u.smallest
                )
            ),
        )
    )


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), accurate relative to its value: (1 + tanh(x / 2)) / 2 is 0 from -38 on."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, e) / (1 + e))


@forward_formula("sigmoid")
def sigmoid(setting: Setting) -> ForwardBudget:
    """y (few u): 1 + exp(-x) has no cancellation, and exp takes its argument unrounded."""
    u, y = setting.u, np.abs(setting.values.outputs[0])
    return ForwardBudget((both(lambda c: c(SIGMOID, u.stored) * y + 4 * u.smallest),))


@gradient_formula("sigmoid")
def sigmoid_gradient(setting: GradientSetting) -> GradientBudget:
    """|g| (|1 - 2 y| dy + few u y (1 - y) + u y) with dy the error of y; the last for the rounding of 1 - y."""
    u = setting.u
    y = logistic(setting.call.inputs[0])
    g = np.abs(setting.cotangents[0])
    return GradientBudget(
        (
            both(
                lambda c: (
                    g
                    * (np.abs(1 - 2 * y) * c(SIGMOID, u.stored) * y + c(4, u.stored) * y * (1 - y) + c(1, u.stored) * y)
                    + 4 * u.smallest
                )
            ),
        )
    )


@hard_operands("softmax", "log_softmax")
def _hard_simplex(call: LayerCall, hard: Hardness) -> LayerCall:
    """Values all over exp's range, far from 0, alike, one above all others, and vast ones."""
    axis, shape = resolve_axis(call.layer.fields()["axis"], call.inputs[0].ndim), call.inputs[0].shape

    def leading(rows: Any) -> Array:
        values = hard.normal(rows)
        values[..., -1] = 60.0
        return values

    patterns = (
        lambda rows: hard.uniform(rows, 104.0),
        lambda rows: 1000.0 + hard.normal(rows),
        lambda rows: np.full(rows, -200.0),
        leading,
        lambda rows: hard.every_size(rows),
        lambda rows: 1e-3 * hard.normal(rows),
    )
    return replace(call, inputs=(hard.rows(shape, (axis,), patterns),))


class _Simplex:
    """p = softmax(x) along the axis, and the error of its sum relative to the sum."""

    def __init__(self, setting: Setting) -> None:
        x = setting.call.inputs[0]
        self.axis = resolve_axis(setting.layer.axis, x.ndim)
        self.depth = np.abs(x - x.max(axis=self.axis, keepdims=True))
        exponentials = np.exp(-self.depth)
        self.p = exponentials / self.sum(exponentials)
        self.log_sum = np.abs(np.log(self.sum(exponentials)))
        self.count = x.shape[self.axis]
        self.u = setting.u

    def sum(self, values: Array) -> Array:
        """Along the axis, which stays."""
        return np.asarray(values.sum(axis=self.axis, keepdims=True))

    def sum_error(self, c: Any) -> Array:
        """Relative error of sum exp: its argument's rounding, exp itself, and the sum."""
        u = self.u
        spread = self.sum(self.p * self.depth)
        return np.asarray(c(1, u.stored) * spread + c(FUNCTION, u.stored) + c(self.count, u.accumulated))

    def error(self, c: Any) -> Array:
        """Absolute error of p."""
        u = self.u
        own = c(1, u.stored) * self.depth + c(FUNCTION + 2, u.stored)
        return np.asarray(self.p * (own + self.sum_error(c)))


@forward_formula("softmax")
def softmax(setting: Setting) -> ForwardBudget:
    """p (u |x - max| + sum_j p_j u |x_j - max| + (K + few) u)."""
    simplex = _Simplex(setting)
    shared = of_rows(simplex.axis, simplex.p * simplex.sum_error(sharp_factor))
    return ForwardBudget((both(lambda c: simplex.error(c) + 4 * setting.u.smallest),), shared=shared)


@gradient_formula("softmax")
def softmax_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = p (g - G), G = sum g p: each factor's error."""
    simplex, u, g = _Simplex(setting), setting.u, setting.cotangents[0]
    p = simplex.p
    total = simplex.sum(g * p)
    size = simplex.sum(np.abs(g) * p)

    def total_error(c: Any) -> Array:
        of_sum = simplex.sum(np.abs(g) * simplex.error(c)) + c(simplex.count + 1, u.accumulated) * size
        return np.asarray(of_sum + c(1, u.stored) * size)

    def error(c: Any) -> Array:
        inner = total_error(c) + c(2, u.stored) * (np.abs(g) + np.abs(total))
        return np.asarray(simplex.error(c) * np.abs(g - total) + p * inner + 4 * u.smallest)

    of_p = p * (g - total) * simplex.sum_error(sharp_factor)
    shared = of_rows(simplex.axis, p * total_error(sharp_factor), of_p)
    return GradientBudget((both(error),), shared=shared)


@forward_formula("log_softmax")
def log_softmax(setting: Setting) -> ForwardBudget:
    """u |x - max| + u |y| + the relative error of sum exp + few u |log sum|."""
    simplex, u = _Simplex(setting), setting.u
    y = np.abs(setting.values.outputs[0])
    of_sum = simplex.sum_error(sharp_factor) + sharp_factor(FUNCTION, u.stored) * simplex.log_sum
    return ForwardBudget(
        (
            both(
                lambda c: (
                    c(2, u.stored) * (simplex.depth + y)
                    + simplex.sum_error(c)
                    + c(FUNCTION, u.stored) * simplex.log_sum
                    + 4 * u.smallest
                )
            ),
        ),
        shared=of_rows(simplex.axis, of_sum),
    )


@gradient_formula("log_softmax")
def log_softmax_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = g - p G, G = sum g; p may come from exp of the stored output."""
    simplex, u, g = _Simplex(setting), setting.u, setting.cotangents[0]
    total, size = simplex.sum(g), simplex.sum(np.abs(g))
    p = simplex.p
    log_p = np.abs(setting.values.outputs[0])

    def total_error(c: Any) -> Array:
        return np.asarray(c(simplex.count, u.accumulated) * size + c(1, u.stored) * size)

    def error(c: Any) -> Array:
        of_p = simplex.error(c) + c(2, u.stored) * p * log_p
        own = c(3, u.stored) * (np.abs(g) + p * np.abs(total))
        return np.asarray(of_p * np.abs(total) + p * total_error(c) + own + 4 * u.smallest)

    of_p = p * total * simplex.sum_error(sharp_factor)
    return GradientBudget((both(error),), shared=of_rows(simplex.axis, p * total_error(sharp_factor), of_p))
