"""Budgets of normalisation by first-order propagation through mean, variance, root and affine map."""

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
    roundings,
    sum_of_products,
)
from cnnbench.numerics.budgets.moments import Statistics, sum_drift, with_drift
from cnnbench.numerics.budgets.shared import Shared, channel_axes, of_added, of_rows
from cnnbench.numerics.hard_operands import Hardness, hard_operands, of_moderate_size, standard_rows
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import sharp_factor

Array = NDArray[Any]


hard_operands("channel_affine")(of_moderate_size)


@hard_operands("batch_norm")
def hard_channels(call: LayerCall, hard: Hardness) -> LayerCall:
    """Channels that are hard to standardise, with running statistics that are their own."""
    x, axes = call.inputs[0], channel_axes(call.inputs[0].ndim)
    x = standard_rows(hard, x.shape, axes, call.layer.fields()["eps"])
    return replace(call, inputs=(x,), state=(x.mean(axis=axes), x.var(axis=axes)))


@hard_operands("frozen_batch_norm")
def hard_frozen_channels(call: LayerCall, hard: Hardness) -> LayerCall:
    """The same, of statistics that are weights; no variance is 0 where there is no epsilon."""
    moved = hard_channels(call, hard)
    eps = call.layer.fields()["eps"]
    mean, variance = moved.state
    variance = np.maximum(variance, 0.0 if eps else hard.smallest**0.5)
    return replace(moved, state=(), weights=(*call.weights[:2], mean, variance))


def _statistics(setting: Setting) -> Statistics:
    """Of a batch, per channel, over the batch and all positions."""
    x = setting.call.inputs[0]
    return Statistics(x, channel_axes(x.ndim), setting.layer.eps, setting.u)


def _channels(array: Array, rank: int) -> Array:
    return array.reshape(1, -1, *(1,) * (rank - 2))


def _scale_and_shift(setting: Setting) -> tuple[Array, Array]:
    """|weight| and |bias| per channel; 1 and 0 where there are none."""
    rank = setting.call.inputs[0].ndim
    if len(setting.call.weights) == 2:
        weight, bias = setting.call.weights
        return np.abs(_channels(weight, rank)), np.abs(_channels(bias, rank))
    return np.ones((1,) * rank), np.zeros((1,) * rank)


@forward_formula("batch_norm")
def batch_norm(setting: Setting) -> ForwardBudget:
    """Inference: 10 roundings of (|x| + |m|) |w| r + |b|. Training: the batch statistics' errors besides."""
    weight, bias = _scale_and_shift(setting)
    u, x = setting.u, setting.call.inputs[0]
    if not setting.call.training:
        mean, variance = (_channels(s, x.ndim) for s in setting.call.state)
        size = (np.abs(x) + np.abs(mean)) * weight / np.sqrt(variance + setting.layer.eps) + bias
        return ForwardBudget((roundings(size, 10, u),), shared=_added(setting))
    moments = _statistics(setting)
    output = both(
        lambda c: (
            weight * moments.normal_error(c)
            + c(4, u.stored) * ((np.abs(x) + np.abs(moments.mean)) * moments.inverse * weight + bias)
            + 8 * u.smallest
        )
    )
    of_mean, of_root = moments.shared_errors()
    # b - m w r may be computed once for a channel: two roundings
    once = sharp_factor(2, u.stored) * (np.abs(moments.mean) * moments.inverse * weight + bias)
    shared = of_rows(moments.axes, weight * of_mean + once, weight * of_root)
    return ForwardBudget((output,), _running(setting, moments), (*shared, *_added(setting)))


def _added(setting: Setting) -> tuple[Shared, ...]:
    """What the shift's addition errs by in a channel."""
    y = setting.values.outputs[0]
    return of_added(y, channel_axes(y.ndim), setting.u)


def _running(setting: Setting, moments: Statistics) -> tuple[Budget, ...]:
    """running <- (1 - a) running + a batch: a times the statistic's error, and few roundings."""
    a, n, u = setting.layer.momentum, moments.count, setting.u
    factor = n / (n - 1) if setting.layer.running_variance == "unbiased" and n > 1 else 1.0
    old_mean, old_variance = (np.abs(s) for s in setting.call.state)
    mean, variance = np.abs(moments.mean).ravel(), moments.variance.ravel() * factor
    return (
        both(
            lambda c: (
                a * moments.mean_error(c).ravel() + c(4, u.stored) * ((1 - a) * old_mean + a * mean) + 4 * u.smallest
            )
        ),
        both(
            lambda c: (
                a * factor * moments.variance_error(c).ravel()
                + c(6, u.stored) * ((1 - a) * old_variance + a * variance)
                + 4 * u.smallest
            )
        ),
    )


@gradient_formula("batch_norm")
def batch_norm_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = w r (g - A - n B) with A = mean g, B = mean(g n), n the normalised input; dw = sum g n, db = sum g.

    Before a global average all g of a channel of an image are alike, so that their sum's roundings are, too.
    """
    if not setting.call.training:
        return _inference_gradient(setting)
    weight, _ = _scale_and_shift(setting)
    u, g, moments = setting.u, setting.cotangents[0], _statistics(setting)
    n, normal = moments.count, moments.normal
    first, second = moments.average(g), moments.average(g * normal)
    inner = g - first - normal * second
    drifts = sum_drift(g, moments.axes, u), sum_drift(g * normal, moments.axes, u)

    def first_error(c: Any) -> Array:
        relative = c(n, u.accumulated) + drifts[0]
        return np.asarray(relative * moments.average(np.abs(g)) + c(1, u.stored) * np.abs(first))

    def second_error(c: Any) -> Array:
        size = moments.average(np.abs(g * normal))
        rounding = (c(n + 2, u.accumulated) + c(2, u.stored) + drifts[1]) * size
        return np.asarray(rounding + moments.average(np.abs(g) * moments.normal_error(c)))

    def input_error(c: Any) -> Array:
        parts = np.abs(g) + np.abs(first) + np.abs(normal * second)
        of_inner = first_error(c) + np.abs(normal) * second_error(c) + np.abs(second) * moments.normal_error(c)
        of_inner = of_inner + c(5, u.stored) * parts
        scale = weight * moments.inverse
        return np.asarray(
            scale * of_inner
            + weight * np.abs(inner) * moments.inverse_error(c)
            + c(4, u.stored) * scale * np.abs(inner)
            + 8 * u.smallest
        )

    weights: tuple[Budget, ...] = ()
    if setting.layer.affine:
        weights = (
            both(lambda c: n * (second_error(c).ravel() + u.smallest)),
            both(lambda c: n * (first_error(c).ravel() + u.smallest)),
        )
    scale = weight * moments.inverse
    shared = of_rows(
        moments.axes,
        scale * first_error(sharp_factor),
        scale * normal * second_error(sharp_factor),
        weight * inner * moments.inverse_error(sharp_factor),
    )
    return GradientBudget((both(input_error),), weights, shared)


def _inference_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = g w r; dw = sum g (x - m) r, db = sum g, with fixed statistics."""
    weight, _ = _scale_and_shift(setting)
    u, g, x = setting.u, np.abs(setting.cotangents[0]), setting.call.inputs[0]
    mean, variance = (_channels(s, x.ndim) for s in setting.call.state)
    inverse = 1 / np.sqrt(variance + setting.layer.eps)
    axes = channel_axes(x.ndim)
    count = math.prod(x.shape[axis] for axis in axes)
    weights: tuple[Budget | None, ...] = ()
    if setting.layer.affine:
        size = (g * (np.abs(x) + np.abs(mean)) * inverse).sum(axis=axes)
        of_bias = sum_of_products(g.sum(axis=axes), count, u, rounded=g.sum(axis=axes), squares=None)
        weights = (
            sum_of_products(size, count + 8, u, rounded=8 * size, squares=None),
            with_drift(of_bias, setting.cotangents[0], axes, u),
        )
    return GradientBudget((roundings(g * weight * inverse, 10, u),), weights)


@forward_formula("frozen_batch_norm")
def frozen_batch_norm(setting: Setting) -> ForwardBudget:
    """As batch norm at inference: 10 roundings of (|x| + |m|) |w| r + |b|."""
    size, bias, x = *_frozen(setting), np.abs(setting.call.inputs[0])
    mean = np.abs(_channels(setting.call.weights[2], x.ndim))
    return ForwardBudget((roundings((x + mean) * size + bias, 10, setting.u),), shared=_added(setting))


@gradient_formula("frozen_batch_norm")
def frozen_batch_norm_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = g w r; no weight is trained."""
    size, _ = _frozen(setting)
    return GradientBudget((roundings(np.abs(setting.cotangents[0]) * size, 10, setting.u),), (None,) * 4)


def _frozen(setting: Setting) -> tuple[Array, Array]:
    """|w| r and |b|."""
    weight, bias, _, variance = (_channels(w, setting.call.inputs[0].ndim) for w in setting.call.weights)
    return np.abs(weight) / np.sqrt(variance + setting.layer.eps), np.abs(bias)


@forward_formula("channel_affine")
def channel_affine(setting: Setting) -> ForwardBudget:
    """Two roundings of |x w| + |b|."""
    weight, bias = _scale_and_shift(setting)
    return ForwardBudget(
        (roundings(np.abs(setting.call.inputs[0]) * weight + bias, 2, setting.u),), shared=_added(setting)
    )


@gradient_formula("channel_affine")
def channel_affine_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = g w; dw = sum g x, db = sum g."""
    weight, _ = _scale_and_shift(setting)
    u, g, x = setting.u, np.abs(setting.cotangents[0]), np.abs(setting.call.inputs[0])
    axes = channel_axes(x.ndim)
    count = math.prod(x.shape[axis] for axis in axes)
    of_weight, of_bias = (
        sum_of_products(size, count + 1, u, rounded=2 * size, squares=None)
        for size in ((g * x).sum(axis=axes), g.sum(axis=axes))
    )
    weights = (of_weight, with_drift(of_bias, setting.cotangents[0], axes, u))
    return GradientBudget((roundings(g * weight, 2, u),), weights)
