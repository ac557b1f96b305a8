"""Budgets of detectors: sums over sample points whose places are rounded too; what is chosen is exact."""

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
    exact,
    forward_formula,
    gradient_formula,
    roundings,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs
from cnnbench.numerics.choices import choice_rule
from cnnbench.numerics.hard_operands import Hardness, hard_operands, no_hard_operands
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.suppression import suppression
from cnnbench.numerics.ties import Backward, Hull, ties_of
from cnnbench.spec.layers.detection import NonMaxSuppression

Array = NDArray[Any]

no_hard_operands(
    "anchor_grid",
    "roi_max_pool",
    "take_rows",
    because="operands say where to look, and are judged as the network has them",
)
choice_rule("non_max_suppression")(suppression)

forward_formula("roi_max_pool", "take_rows", "non_max_suppression")(exact_outputs)
gradient_formula("anchor_grid", "non_max_suppression")(exact_gradients)


@gradient_formula("roi_max_pool")
def roi_max_pool_gradient(setting: GradientSetting) -> GradientBudget:
    """dx sums over the cells that a pixel wins, at most all cells of all boxes."""
    cells = math.prod(setting.values.outputs[0].shape[::2]) * setting.values.outputs[0].shape[3]
    magnitude = setting.gradient_magnitudes(setting.call).inputs[0]
    return GradientBudget((_sum(setting, magnitude, cells, 0), *_still(setting)))


@gradient_formula("take_rows")
def take_rows_gradient(setting: GradientSetting) -> GradientBudget:
    """A row sums over those that took it."""
    magnitude = setting.gradient_magnitudes(setting.call).inputs[0]
    return GradientBudget((_sum(setting, magnitude, setting.call.inputs[1].shape[1], 0), None))


def _sum(setting: GradientSetting, magnitude: Array, count: float, position: int) -> Budget:
    u = setting.u
    own = u.stored * np.abs(setting.gradients.inputs[position])
    some = np.maximum(magnitude, u.smallest)
    return both(lambda c: c(count, u.accumulated) * some + own + (count + 1) * u.smallest)


def _still(setting: GradientSetting) -> tuple[Budget | None, ...]:
    """The budgets of operands that get no gradient: zeros for boxes, nothing for integers."""
    return tuple(None if gradient is None else exact(setting.u) for gradient in setting.gradients.inputs[1:])


@ties_of("roi_max_pool")
def equal_features(backward: Backward) -> Hull:
    """Pixels whose value another pixel of their channel has: which of them wins a cell is a convention."""
    x, g = backward.x, backward.cotangent
    flat = x.reshape(-1, *x.shape[2:]).reshape(x.shape[0] * x.shape[1], -1)
    found = np.zeros(flat.shape, bool)
    for row, marks in zip(flat, found, strict=True):
        _values, inverse, count = np.unique(row, return_inverse=True, return_counts=True)
        marks[:] = count[inverse] > 1
    cells = (0, *range(2, g.ndim))  # at most all cells of all regions
    least, most = (np.asarray(side(g, 0).sum(axis=cells)).reshape(1, -1, 1, 1) for side in (np.minimum, np.maximum))
    return backward.between(found.reshape(x.shape), least, most, (2, 3))


@forward_formula("anchor_grid")
def anchor_grid(setting: Setting) -> ForwardBudget:
    """A rounded constant, a sum, which may cancel, and storing it."""
    largest = np.abs(np.array(setting.layer.around_origin())).max()
    return ForwardBudget((roundings(np.abs(setting.values.outputs[0]) + largest, 2, setting.u),))


@hard_operands("non_max_suppression")
def pairs_around_the_bounds(call: LayerCall, hard: Hardness) -> LayerCall:
    """Pairs of boxes that overlap by a little more or a little less than the threshold, far from all others.

    Sizes lie around the least one, scores around their threshold, and in every other set some scores are equal. Two
    boxes of width w, one of them (1 - v) / (1 + v) w further, overlap by v.
    """
    layer, shape, draw = call.layer, call.inputs[0].shape, hard.generator
    assert isinstance(layer, NonMaxSuppression)
    count = (shape[-2] + 1) // 2
    beyond = np.exp2(-draw.uniform(1, 12, (*shape[:-2], count))) * draw.choice([-1.0, 1.0], (*shape[:-2], count))
    wanted = np.clip(layer.iou_threshold + beyond, 0, 1)
    size = draw.uniform(4, 16, (*wanted.shape, 2))
    if layer.min_size is not None:
        around = layer.min_size * (1 + draw.choice([-0.3, -0.01, 0.01, 0.3], size.shape))
        size = np.where(draw.random((*wanted.shape, 1)) < 0.25, around, size)
    side = math.isqrt(count) + 1
    place = 48.0 * np.stack([np.arange(count) % side, np.arange(count) // side], -1) + draw.uniform(0, 8, size.shape)
    moved = place + np.stack([(1 - wanted) / (1 + wanted) * size[..., 0], 0 * wanted], -1)
    first = np.concatenate([place, moved], -2)[..., : shape[-2], :]
    sizes = np.concatenate([size, size], -2)[..., : shape[-2], :]
    if layer.box_format == "center":
        boxes = np.concatenate([first + sizes / 2, sizes], -1)
    else:
        boxes = np.concatenate([first, first + sizes], -1)
    scores = draw.normal(size=shape[:-1]) * 0.3 + (layer.score_threshold or 0.0)
    every_other = (np.arange(len(scores)) % 2 == 1).reshape(-1, *(1,) * (scores.ndim - 1))
    scores = np.where(every_other, np.round(scores * 16) / 16, scores)
    order = draw.permutation(shape[-2])
    return replace(call, inputs=(boxes[..., order, :], scores[..., order]))
