"""Budgets of pooling: means are sums with a division, maxima and subsampling move values."""

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
    exact_on_integers,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs
from cnnbench.numerics.budgets.moments import drift
from cnnbench.numerics.hard_operands import Hardness, hard_operands, of_every_size
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.ties import Backward, Hull, maxima, ties_of
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, Shape

exact_on_integers("min_pool")


hard_operands("max_pool", "min_pool", "global_max_pool", "subsample")(of_every_size)

forward_formula("max_pool", "min_pool", "global_max_pool", "subsample")(exact_outputs)
gradient_formula("subsample")(exact_gradients)


@hard_operands("avg_pool", "global_avg_pool", "adaptive_avg_pool")
def hard_average(call: LayerCall, hard: Hardness) -> LayerCall:
    """Channels whose values cancel, lie far from 0, are all alike, or are very large and very small."""
    x = call.inputs[0]
    mean = min(300.0, hard.square)

    def alternating(rows: Any) -> NDArray[Any]:
        return np.resize([1.0, -1.0], rows) * (hard.square / 8 + hard.normal(rows))

    patterns = (
        lambda rows: mean + hard.normal(rows),
        lambda rows: np.full(rows, 100.3),
        alternating,
        lambda rows: hard.square_root * hard.normal(rows),
        lambda rows: hard.every_size(rows, most=hard.square),
    )
    return replace(call, inputs=(hard.rows(x.shape, tuple(range(2, x.ndim)), patterns),))


def _window_size(layer: object, spatial: Shape) -> int:
    """The most positions that one output averages."""
    if isinstance(layer, AvgPool):
        return math.prod(layer.window().kernel_size)
    if isinstance(layer, AdaptiveAvgPool):
        return math.prod(-(-size // out) + 1 for size, out in zip(spatial, layer.sizes(), strict=True))
    return math.prod(spatial)


def windows_per_input(layer: object, spatial: Shape) -> int:
    """The most windows that one input lies in."""
    window = layer.window() if hasattr(layer, "window") else None
    if isinstance(layer, AdaptiveAvgPool):
        # an output longer than its input reads each position several times
        return math.prod(-(-out // size) + 1 for size, out in zip(spatial, layer.sizes(), strict=True))
    if window is None:
        return 1
    return math.prod(
        -(-k // s) if d == 1 else k for k, s, d in zip(window.kernel_size, window.stride, window.dilation, strict=True)
    )


def _sum(magnitude: np.ndarray, count: int, setting: Setting, rounded: np.ndarray) -> Budget:
    """Sums of stored values have no rounded operands; scaling by 1 / count is two roundings more."""
    u = replace(setting.u, operand=0.0)
    return sum_of_products(magnitude, count + 2, u, rounded=2 * np.abs(rounded), squares=None)


@forward_formula("avg_pool", "global_avg_pool", "adaptive_avg_pool")
def average(setting: Setting) -> ForwardBudget:
    """K positions, S = the mean of |x|; over a whole channel the sum's drift besides (``moments``)."""
    x, y = setting.call.inputs[0], setting.values.outputs[0]
    count = _window_size(setting.layer, x.shape[2:])
    budget = _sum(setting.magnitudes()[0], count, setting, y)
    if setting.layer.kind == "global_avg_pool":  # equal values, of which roundings do not average out
        drifted = drift(x, tuple(range(2, x.ndim)), setting.u.accumulated).reshape(y.shape) * setting.magnitudes()[0]
        budget = Budget(budget.sharp + drifted, budget.worst + drifted)
    return ForwardBudget((budget,))


@gradient_formula(
    "avg_pool",
    "global_avg_pool",
    "adaptive_avg_pool",
    "max_pool",
    "min_pool",
    "global_max_pool",
)
def window_gradient(setting: GradientSetting) -> GradientBudget:
    """dx sums the cotangents of the windows in which the input lies (for maxima: which it wins); S is on |dy|."""
    # on the input itself and not its magnitude: a maximum's winner depends on it
    magnitude = setting.gradient_magnitudes(setting.call).inputs[0]
    count = windows_per_input(setting.layer, setting.call.inputs[0].shape[2:])
    return GradientBudget((_sum(magnitude, count, setting, setting.gradients.inputs[0]),))


@ties_of("min_pool")
def tied_minima(backward: Backward) -> Hull:
    """The ties of the maxima of -x."""
    return maxima(replace(backward, call=LayerCall(backward.layer.maximum(), (-backward.x,))))
