"""Budgets of regions sampled between pixels: sums over sample points whose places are rounded too."""

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
)
from cnnbench.numerics.hard_operands import no_hard_operands
from cnnbench.numerics.reference import LayerCall
from cnnbench.spec.layers.roi_align import RoIAlign

Array = NDArray[Any]

no_hard_operands(
    "roi_align", "level_roi_align", because="operands say where to look, and are judged as the network has them"
)
PLACE = 8  # roundings of a sample's place: scale, offset, length, its share of a cell, the sum


def _levels(setting: Setting) -> list[tuple[RoIAlign, int, Array]]:
    """For each level the layer, the position of its features among the operands, and which boxes are its own."""
    call = setting.call
    if isinstance(setting.layer, RoIAlign):
        return [(setting.layer, 0, np.ones(len(call.inputs[1]), bool))]
    count = len(call.inputs) - 2
    return [(setting.layer.of_level(i), 2 + i, call.inputs[1][:, 0] == i) for i in range(count)]


def _on_magnitudes(setting: Setting) -> LayerCall:
    """The call on absolute features; the boxes stay, since they say which pixels are read."""
    inputs = list(setting.call.inputs)
    for _, position, _ in _levels(setting):
        inputs[position] = np.abs(inputs[position])
    return replace(setting.call, inputs=tuple(inputs))


def _places(setting: Setting, layer: RoIAlign) -> Array:
    """The largest coordinate of each box in pixels of a level's features, (R, 1, 1, 1)."""
    boxes = setting.call.inputs[1 if isinstance(setting.layer, RoIAlign) else 0]
    return np.asarray((np.abs(boxes) * layer.spatial_scale + 1).max(axis=1, initial=0)[:, None, None, None])


def _most_samples(layer: RoIAlign, features: Array) -> int:
    return math.prod(layer.most_samples(axis, size) for axis, size in enumerate(features.shape[2:]))


@forward_formula("roi_align", "level_roi_align")
def roi_align(setting: Setting) -> ForwardBudget:
    """K = 4 S products and 4 roundings of their weights: c(K + 4) S; a place off by c(8) x moves the interpolation by
    that times twice the largest feature of the channel, along each axis. Coordinates are held in the accumulator.
    """
    u, levels = setting.u, _levels(setting)
    magnitude = setting.reference.forward(_on_magnitudes(setting)).outputs[0]
    own = np.abs(setting.values.outputs[0])
    moves, terms = np.zeros((*own.shape[:2], 1, 1)), 0
    for layer, position, mine in levels:
        features = np.abs(setting.call.inputs[position])
        steepest = 2 * features.max(axis=(0, 2, 3), initial=0)[None, :, None, None]
        moves = np.where(mine[:, None, None, None], 2 * _places(setting, layer) * steepest, moves)
        terms = max(terms, 4 * _most_samples(layer, features) + 4)

    def error(c: Any) -> Array:
        moved = c(PLACE, u.accumulated) * moves
        return np.asarray(c(terms, u.accumulated) * magnitude + moved + u.stored * own + 8 * u.smallest)

    return ForwardBudget((both(error),))


@gradient_formula("roi_align", "level_roi_align")
def roi_align_gradient(setting: GradientSetting) -> GradientBudget:
    """As forward, with the K samples that meet a pixel; a place that is off shifts what neighbours get, so that the
    3 x 3 sum of S bounds it. Boxes have no gradient, exactly.
    """
    at_max = getattr(setting.layer, "mode", "avg") == "max"  # the winners of the magnitudes are others
    magnitudes = setting.gradient_magnitudes(setting.call if at_max else _on_magnitudes(setting)).inputs
    budgets = [None if gradient is None else exact(setting.u) for gradient in setting.gradients.inputs]
    for layer, position, mine in _levels(setting):
        budgets[position] = _of_features(setting, layer, position, magnitudes[position], mine)
    return GradientBudget(tuple(budgets))


def _of_features(setting: GradientSetting, layer: RoIAlign, position: int, magnitude: Any, mine: Array) -> Budget:
    u = setting.u
    height, width = magnitude.shape[2:]
    padded = np.pad(magnitude, ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = sum(padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3))
    terms = 4 * _most_samples(layer, magnitude) * len(mine) + 4
    place = float(_places(setting, layer)[mine].max(initial=0))
    some = np.maximum(magnitude, u.smallest)  # of so many terms the worst case may be infinite, and 0 times it nothing

    def error(c: Any) -> Array:
        moved = 2 * c(PLACE, u.accumulated) * place * around
        own = u.stored * np.abs(setting.gradients.inputs[position])
        return np.asarray(c(terms, u.accumulated) * some + moved + own + 8 * u.smallest)

    return both(error)
