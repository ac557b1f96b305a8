"""Budgets of normalisation by each image's mean and variance: batch norm's propagation over other axes.

y = n w + b with n = (x - m) r. Weights vary within what is averaged, so gradients are propagated through h = g w:
dx = r (h - mean h - n mean(h n)).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

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
from cnnbench.numerics.budgets.moments import Axes, Statistics, sum_drift
from cnnbench.numerics.budgets.shared import Shared, channel_axes, of_added
from cnnbench.numerics.hard_operands import Hardness, hard_operands, standard_rows
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import sharp_factor

Array = NDArray[Any]


class _Shape(NamedTuple):
    """How a kind averages: x in the shape ``view``, over ``axes`` of it; weights in the shape ``weight``."""

    view: tuple[int, ...]
    axes: Axes
    weight: tuple[int, ...]

    def shared(self, pattern: Array, full: tuple[int, ...], factor: Array) -> Shared:
        """An error that a row has in common.

        Args:
            pattern: As it broadcasts against ``view``.
            full: The input's shape.
            factor: Of the error, as it broadcasts against the input.
        """
        return Shared(np.broadcast_to(pattern, self.view).reshape(full) * factor, self.axes, self.view[1:])


def _shape(layer: Any, shape: tuple[int, ...]) -> _Shape:
    rank = len(shape)
    channels = (1, shape[1], *(1,) * (rank - 2))
    if layer.kind == "layer_norm":
        return _Shape(shape, tuple(range(layer.start_axis, rank)), shape[layer.start_axis :])
    if layer.kind == "mean_variance_norm":
        return _Shape(shape, layer.axes, channels)
    groups = layer.groups if layer.kind == "group_norm" else shape[1]
    return _Shape((shape[0], groups, math.prod(shape[1:]) // groups), (2,), channels)


def _statistics(setting: Setting, shape: _Shape) -> Statistics:
    layer = setting.layer
    outside = layer.kind == "mean_variance_norm" and layer.eps_place == "outside"
    return Statistics(setting.call.inputs[0].reshape(shape.view), shape.axes, layer.eps, setting.u, outside=outside)


def _weight_and_bias(setting: Setting, shape: _Shape) -> tuple[Array, Array]:
    """|weight| and |bias| as they broadcast against the input; 1 and 0 where there are none."""
    given = [np.abs(w).reshape(shape.weight) for w in setting.call.weights]
    return (given[0] if given else np.ones(())), (given[1] if len(given) > 1 else np.zeros(()))


def _same_weight(setting: Setting) -> Axes:
    """The axes along which elements have the same weight and bias."""
    rank = setting.call.inputs[0].ndim
    return tuple(range(setting.layer.start_axis)) if setting.layer.kind == "layer_norm" else channel_axes(rank)


KINDS = ("layer_norm", "instance_norm", "group_norm", "mean_variance_norm")


@hard_operands(*KINDS)
def hard_rows(call: LayerCall, hard: Hardness) -> LayerCall:
    """What is averaged together is hard to standardise."""
    shape = _shape(call.layer, call.inputs[0].shape)
    fields = call.layer.fields()
    x = standard_rows(hard, shape.view, shape.axes, fields["eps"], constant=fields.get("eps_place") != "outside")
    return replace(call, inputs=(x.reshape(call.inputs[0].shape),))


@forward_formula(*KINDS)
def standardized(setting: Setting) -> ForwardBudget:
    """|w| dn + few u ((|x| + |m|) r |w| + |b|)."""
    u, full = setting.u, setting.call.inputs[0].shape
    shape = _shape(setting.layer, full)
    found = _statistics(setting, shape)
    weight, bias = _weight_and_bias(setting, shape)
    magnitude = ((np.abs(found.x) + np.abs(found.mean)) * found.inverse).reshape(full) * weight + bias
    signed = setting.call.weights[0].reshape(shape.weight) if setting.call.weights else np.ones(())
    shared = tuple(shape.shared(part, full, signed) for part in found.shared_errors())
    if setting.layer.kind == "group_norm":  # x s + t, with s and t computed once for a channel of an image
        size = np.broadcast_to(np.abs(found.mean) * found.inverse, shape.view).reshape(*full[:2], -1)[:, :, :1]
        size = size.reshape(*full[:2], *(1,) * (len(full) - 2)) * weight + bias
        shared = (*shared, Shared(sharp_factor(2, u.stored) * size, tuple(range(2, len(full)))))
    if len(setting.call.weights) > 1:
        shared = (*shared, *of_added(setting.values.outputs[0], _same_weight(setting), u))
    return ForwardBudget(
        (both(lambda c: weight * found.normal_error(c).reshape(full) + c(4, u.stored) * magnitude + 8 * u.smallest),),
        shared=shared,
    )


@gradient_formula(*KINDS)
def standardized_gradient(setting: GradientSetting) -> GradientBudget:
    """dx = r (h - mean h - n mean(h n)), h = g w: each factor's error. dw = sum g n, db = sum g.

    PyTorch on a CPU computes r h + b x + c from sums of h and of h x: their terms, which cancel, are as large as those
    of x r - m r.
    """
    u, full, g = setting.u, setting.call.inputs[0].shape, setting.cotangents[0]
    shape = _shape(setting.layer, full)
    found = _statistics(setting, shape)
    signed = setting.call.weights[0].reshape(shape.weight) if setting.call.weights else np.ones(())
    h = (g * signed).reshape(shape.view)
    n = found.count
    first, second = found.average(h), found.average(h * found.normal)
    # with eps outside the root, x - m is divided by the root without it
    along = found.deviation / np.where(found.root > 0, found.root, 1)
    inner = h - first - along * second
    sizes = found.average(np.abs(h)), found.average(np.abs(h * found.normal))
    far = (np.abs(found.x) + np.abs(found.mean)) * found.inverse
    plain = found.average(np.abs(h) * far)

    def of_means(c: Any, normal: Array) -> tuple[Array, Array]:
        of_first = (c(n + 1, u.accumulated) + c(2, u.stored)) * sizes[0]
        of_second = c(n + 2, u.accumulated) * plain + c(4, u.stored) * plain + found.average(np.abs(h) * normal)
        return of_first, of_second

    def error(c: Any) -> Array:
        normal = found.normal_error(c)
        of_first, of_second = of_means(c, normal)
        parts = np.abs(h) + np.abs(first) + np.abs(along * second) + np.abs(second) * far
        of_inner = of_first + np.abs(along) * of_second + np.abs(second) * normal + c(6, u.stored) * parts
        total = found.inverse * of_inner + np.abs(inner) * found.inverse_error(c)
        return np.asarray(total + c(4, u.stored) * found.inverse * np.abs(inner) + 8 * u.smallest).reshape(full)

    of_first, of_second = of_means(sharp_factor, found.normal_error(sharp_factor))
    patterns = (
        found.inverse * of_first,
        found.inverse * along * of_second,
        inner * found.inverse_error(sharp_factor),
    )
    shared = tuple(shape.shared(pattern, full, np.ones(())) for pattern in patterns)
    return GradientBudget((both(error),), _weight_gradients(setting, shape, found), shared)


def _weight_gradients(setting: GradientSetting, shape: _Shape, found: Statistics) -> tuple[Budget, ...]:
    """dw = sum g n: the sum's roundings, and the errors of n; db = sum g."""
    u, full, g = setting.u, setting.call.inputs[0].shape, np.abs(setting.cotangents[0])
    if not setting.call.weights:
        return ()
    axes = _same_weight(setting)
    terms = math.prod(full[axis] for axis in axes)
    normal = np.abs(found.normal).reshape(full)

    def of_weight(c: Any) -> Array:
        rounding = (c(terms + 2, u.accumulated) + c(3, u.stored)) * g * normal
        return np.asarray((rounding + g * found.normal_error(c).reshape(full)).sum(axis=axes) + terms * u.smallest)

    drifted = sum_drift(setting.cotangents[0], axes, u).reshape(g.sum(axis=axes).shape)

    def of_bias(c: Any) -> Array:
        relative = c(terms, u.accumulated) + c(2, u.stored) + drifted
        return np.asarray(relative * g.sum(axis=axes) + terms * u.smallest)

    return (both(of_weight), both(of_bias))[: len(setting.call.weights)]
