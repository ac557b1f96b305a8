"""Budgets of normalisation by magnitude: a sum of squares or magnitudes has no cancellation, so errors are relative."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION
from cnnbench.numerics.budgets.base import (
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.budgets.moments import sum_drift
from cnnbench.numerics.budgets.shared import of_added, of_rows
from cnnbench.numerics.hard_operands import Hardness, hard_operands, of_moderate_size
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import sharp_factor
from cnnbench.numerics.ties import Backward, Hull, ties_of

Array = NDArray[Any]


def _window_sum(values: Array, before: int, after: int) -> Array:
    padded = np.pad(values, ((0, 0), (before, after), *((0, 0),) * (values.ndim - 2)))
    return np.asarray(sum(padded[:, i : i + values.shape[1]] for i in range(before + after + 1)))


def _response(setting: Setting, exponent: float) -> tuple[Array, Any]:
    """s^exponent, and its relative error: |exponent| times that of s, the power's own, and its logarithm's rounding."""
    layer, u, x = setting.layer, setting.u, setting.call.inputs[0]
    s = layer.k + layer.factor() * _window_sum(x * x, *layer.reach())

    def relative(c: Any) -> Array:
        of_sum = c(layer.size + 4, max(u.accumulated, u.stored))
        return np.asarray(abs(exponent) * (of_sum + c(2, u.stored) * np.abs(np.log(s))) + c(FUNCTION, u.stored))

    return s**exponent, relative


@forward_formula("local_response_norm")
def local_response_norm(setting: Setting) -> ForwardBudget:
    """y = x s^-beta: the power's relative error and three roundings."""
    u, y = setting.u, np.abs(setting.values.outputs[0])
    _, relative = _response(setting, -setting.layer.beta)
    return ForwardBudget((both(lambda c: y * (relative(c) + c(3, u.stored)) + 8 * u.smallest),))


@gradient_formula("local_response_norm")
def local_response_norm_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = g s^-beta - 2 a beta x sum(g x s^(-beta - 1)): each term's error, the sum's at its magnitude."""
    layer, u = setting.layer, setting.u
    x, g = np.abs(setting.call.inputs[0]), np.abs(setting.cotangents[0])
    first, first_error = _response(setting, -layer.beta)
    second, second_error = _response(setting, -layer.beta - 1)
    before, after = layer.reach()
    outer = 2 * layer.factor() * layer.beta * x

    def error(c: Any) -> Array:
        direct = g * first * (first_error(c) + c(4, u.stored))
        parts = g * x * second * (second_error(c) + c(layer.size + 8, u.accumulated) + c(6, u.stored))
        return np.asarray(direct + outer * _window_sum(parts, after, before) + 8 * u.smallest)

    return GradientBudget((both(error),))


hard_operands("local_response_norm")(of_moderate_size)


@hard_operands("rms_norm", "filter_response_norm", "lp_normalization")
def hard_lengths(call: LayerCall, hard: Hardness) -> LayerCall:
    """Rows whose squares just do not underflow or overflow, near epsilon, of zeros, far from 0, and of every size."""
    layer, x = call.layer, call.inputs[0]
    fields = layer.fields()
    first = fields.get("start_axis", 2)
    axes = (fields["axis"],) if "axis" in fields else tuple(range(first, x.ndim))
    count = math.prod(x.shape[axis] for axis in axes)
    near = fields["eps"] if "axis" in fields else max(fields["eps"], hard.smallest**0.9) ** 0.5
    near = max(near, hard.square_root)
    patterns = (
        lambda rows: hard.square_root * (1 + np.abs(hard.normal(rows))),
        lambda rows: hard.cube * hard.normal(rows),
        lambda rows: near / count**0.5 * hard.normal(rows),
        lambda rows: np.zeros(rows),
        lambda rows: min(300.0, hard.cube) + hard.normal(rows),
        lambda rows: hard.every_size(rows, most=hard.cube, least=hard.square_root),
    )
    return replace(call, inputs=(hard.rows(x.shape, axes, patterns),))


class _Unit:
    """n = x r, r = 1 / sqrt(q + eps), q = mean x^2: dr / r = (c(n + 2) q) / (2 (q + eps)) + few u."""

    def __init__(self, setting: Setting) -> None:
        layer, self.u, x = setting.layer, setting.u, setting.call.inputs[0]
        trailing = layer.kind == "rms_norm"
        first = layer.start_axis if trailing else 2
        self.axes = tuple(range(first, x.ndim))
        self.summed = tuple(range(first)) if trailing else (0, *self.axes)  # what a weight's gradient sums over
        self.count = math.prod(x.shape[axis] for axis in self.axes)
        self.square = self.average(x * x)
        self.total = self.square + layer.eps
        self.inverse = 1 / np.sqrt(self.total)
        self.normal = x * self.inverse
        shape = x.shape[first:] if trailing else (1, -1, *(1,) * (x.ndim - 2))
        given = [np.abs(w).reshape(shape) for w in setting.call.weights]
        self.weight = given[0] if given else np.ones(())
        self.bias = given[1] if len(given) > 1 else np.zeros(())
        self.signed_bias = setting.call.weights[1].reshape(shape) if len(given) > 1 else np.zeros(())

    def average(self, values: Array) -> Array:
        """Over the axes, which stay."""
        return np.asarray(values.mean(axis=self.axes, keepdims=True))

    def relative(self, c: Any) -> Array:
        """Of r, and so of n with one rounding more."""
        of_square = c(self.count + 2, self.u.accumulated) + c(3, self.u.stored)
        return np.asarray(of_square * self.square / (2 * self.total) + c(5, self.u.stored))


@forward_formula("rms_norm", "filter_response_norm")
def unit(setting: Setting) -> ForwardBudget:
    """|n w| times the relative error of r, and few roundings of |n w| + |b|."""
    u, found = setting.u, _Unit(setting)
    size = np.abs(found.normal) * found.weight
    signed = setting.values.outputs[0] - found.signed_bias
    added = of_added(setting.values.outputs[0], found.summed, u) if len(setting.call.weights) > 1 else ()
    return ForwardBudget(
        (both(lambda c: size * found.relative(c) + c(4, u.stored) * (size + found.bias) + 8 * u.smallest),),
        shared=(*of_rows(found.axes, signed * found.relative(sharp_factor)), *added),
    )


@gradient_formula("rms_norm", "filter_response_norm")
def unit_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = r (h - n mean(h n)), h = g w; dw = sum g n, db = sum g."""
    u, found, g = setting.u, _Unit(setting), np.abs(setting.cotangents[0])
    h, normal = g * found.weight, np.abs(found.normal)
    size = found.average(h * normal)
    terms = math.prod(g.shape[axis] for axis in found.summed)

    def of_mean(c: Any) -> Array:
        return np.asarray(size * (c(found.count + 2, u.accumulated) + c(6, u.stored) + 2 * found.relative(c)))

    def of_input(c: Any) -> Array:
        inner = normal * of_mean(c) + c(4, u.stored) * (h + normal * size)
        return np.asarray(found.inverse * (inner + (h + normal * size) * found.relative(c)) + 8 * u.smallest)

    def of_weight(c: Any) -> Array:
        relative = c(terms + 2, u.accumulated) + c(3, u.stored) + found.relative(c)
        return np.asarray((g * normal * relative).sum(axis=found.summed) + terms * u.smallest)

    drifted = sum_drift(setting.cotangents[0], found.summed, u).reshape(g.sum(axis=found.summed).shape)

    def of_bias(c: Any) -> Array:
        relative = c(terms, u.accumulated) + c(2, u.stored) + drifted
        return np.asarray(relative * g.sum(axis=found.summed) + terms * u.smallest)

    own = setting.gradients.inputs[0] * found.relative(sharp_factor)
    shared = of_rows(found.axes, found.inverse * found.normal * of_mean(sharp_factor), own)
    return GradientBudget((both(of_input),), (both(of_weight), both(of_bias))[: len(setting.call.weights)], shared)


class _Length:
    """N = max(||x||_p, eps): relative error of a sum of terms of one sign, halved by the root."""

    def __init__(self, setting: Setting) -> None:
        layer, self.u, x = setting.layer, setting.u, setting.call.inputs[0]
        self.axis, self.count = layer.axis, x.shape[layer.axis]
        total = self.sum(np.abs(x) if layer.p == 1 else x * x)
        norm = total if layer.p == 1 else np.sqrt(total)
        self.free = norm > layer.eps
        self.near = np.abs(norm - layer.eps) <= 64 * self.u.stored * layer.eps  # either branch of the gradient
        self.divisor = np.maximum(norm, layer.eps)

    def sum(self, values: Array) -> Array:
        """Along the axis, which stays."""
        return np.asarray(values.sum(axis=self.axis, keepdims=True))

    def relative(self, c: Any) -> float:
        """Of N."""
        return float(c(self.count + 2, self.u.accumulated) + c(4, self.u.stored))


@ties_of("lp_normalization")
def at_zero(backward: Backward) -> Hull | None:
    """sign(0), for p = 1: anything from -1 to 1 in dx = (g - sign(x) sum(g y)) / N."""
    layer, x, g = backward.layer, backward.x, backward.cotangent
    if layer.p != 1:
        return None
    norm = np.abs(x).sum(axis=layer.axis, keepdims=True)
    divisor = np.maximum(norm, layer.eps)
    along = np.where(norm > layer.eps, (g * x / divisor).sum(axis=layer.axis, keepdims=True), 0.0)
    return backward.between(x == 0, (g - along) / divisor, (g + along) / divisor)


@forward_formula("lp_normalization")
def lp_normalization(setting: Setting) -> ForwardBudget:
    """|y| times the relative error of N, and three roundings."""
    u, found, y = setting.u, _Length(setting), np.abs(setting.values.outputs[0])
    shared = of_rows(found.axis, setting.values.outputs[0] * found.relative(sharp_factor))
    return ForwardBudget((both(lambda c: y * (found.relative(c) + c(3, u.stored)) + 8 * u.smallest),), shared=shared)


@gradient_formula("lp_normalization")
def lp_normalization_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = (g - d sum(g y)) / N, d = y or sign(x)."""
    u, found = setting.u, _Length(setting)
    g, y = np.abs(setting.cotangents[0]), np.abs(setting.values.outputs[0])
    direction = y if setting.layer.p == 2 else np.ones(())
    size = np.where(found.free | found.near, found.sum(g * y), 0)

    def of_length(c: Any) -> Array:
        return np.asarray(size * (c(found.count + 2, u.accumulated) + c(4, u.stored) + 3 * found.relative(c)))

    def error(c: Any) -> Array:
        of_sum = of_length(c)
        own = (g + direction * size) * (found.relative(c) + c(5, u.stored))
        jump = np.where(found.near, direction * size, 0)
        return np.asarray((direction * of_sum + own + jump) / found.divisor + 8 * u.smallest)

    signed = setting.values.outputs[0] if setting.layer.p == 2 else np.sign(setting.call.inputs[0])
    own = setting.gradients.inputs[0] * found.relative(sharp_factor)
    shared = of_rows(found.axis, signed * of_length(sharp_factor) / found.divisor, own)
    return GradientBudget((both(error),), shared=shared)
