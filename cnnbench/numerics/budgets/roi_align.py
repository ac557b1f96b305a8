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
from cnnbench.numerics.hard_operands import Hardness, hard_operands
from cnnbench.numerics.reference import LayerCall
from cnnbench.spec.layers.roi_align import RoIAlign

Array = NDArray[Any]

FAR = 1024.0  # pixels of a cell of a huge region
PLACE = 8  # roundings of a sample's place: scale, offset, length, its share of a cell, the sum


@hard_operands("roi_align", "level_roi_align", whole=True)
def hard_regions(call: LayerCall, hard: Hardness) -> LayerCall:
    """Regions that are hard along one axis, rows and columns by turns, and ordinary along the other.

    Samples lie on pixels, at -1 and at the map's size exactly, which still count, and a little beyond, which do not;
    regions have no length, less than a pixel, the map's, a thousand times as much, and lie on either side of the map.
    """
    whole: Any = call.layer
    of_levels = whole.kind == "level_roi_align"
    first = 2 if of_levels else 0
    boxes = call.inputs[0 if of_levels else 1]
    levels = np.arange(len(boxes)) % (len(call.inputs) - 2) if of_levels else np.zeros(len(boxes), int)
    found = np.empty(boxes.shape)
    for number, level in enumerate(levels):
        layer: Any = whole.of_level(int(level)) if of_levels else whole
        sizes = call.inputs[first + level].shape[2:]
        turn = int(number // max(len(call.inputs) - 2, 1) if of_levels else number)
        for axis, size in enumerate(sizes):
            ends = _plain(layer, size, hard)
            if turn % 2 == axis:
                own = _ends(layer, axis, size)
                hardest = own[turn // 2 % len(own)]
                ends = hardest if hard.holds(hardest) else ends
            found[number, [1 - axis, 3 - axis]] = ends
    if of_levels:
        return replace(call, inputs=(found, levels[:, None], *call.inputs[2:]))
    images = (np.arange(len(boxes)) * len(call.inputs[0]) // max(len(boxes), 1),) * (len(call.inputs) - 2)
    return replace(call, inputs=(call.inputs[0], found, *images))


def _plain(layer: RoIAlign, size: int, hard: Hardness) -> Array:
    """Both ends of a region within the map, in the boxes' coordinates."""
    begin = hard.generator.uniform(0.1, 0.5) * size
    ends = np.array([begin, begin + hard.generator.uniform(0.2, 0.4) * size])
    return (ends + (0.5 if layer.aligned else 0.0)) / layer.spatial_scale


def _ends(layer: RoIAlign, axis: int, size: int) -> list[Array]:
    """Both ends of each hard region along an axis, in the boxes' coordinates.

    Cells of 2 S pixels for a given S, and else of two, have samples that lie at the region's start and whole numbers.
    Where a quotient is rounded, by a number of cells or samples that is no power of two, none lies at an edge exactly.
    """
    out, a_little = layer.grid()[axis], 2.0**-6
    cell = 2.0 * (layer.sampling_ratio or 1)
    before = cell / 2 / (layer.sampling_ratio or min(2, layer.most_samples(axis, size)))  # the first sample
    length, count = cell * out, layer.most_samples(axis, size)
    middle = (count // 2 + 0.5) / count  # of a huge region's cell: a sample that is to lie within the map
    exact_ones = {-1 - before: length, size - length + before: length}
    rounds = out & (out - 1) or layer.sampling_ratio & (layer.sampling_ratio - 1)
    starts = ({} if rounds else exact_ones) | {
        -1 - before - a_little: length,
        size - length + before + a_little: length,
        -before: length,
        size / 2 - 0.25: 0.0,
        size / 2: out * a_little,
        -0.125: float(size),
        size / 2 - FAR * (out // 2 + middle) - 0.25: FAR * out,
        -3.0 - out: float(out),
        size + 2.0: float(out),
    }
    offset = 0.5 if layer.aligned else 0.0
    return [(np.array([start, start + n]) + offset) / layer.spatial_scale for start, n in starts.items()]


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
    spread = magnitudes
    if at_max:  # a winner's weight may be next to nothing, and errs as the others of its sample do
        mean = replace(setting.call, layer=replace(setting.layer, mode="avg"))
        count = _most_samples(setting.layer, setting.call.inputs[0])
        spread = tuple(None if x is None else count * x for x in setting.gradient_magnitudes(mean).inputs)
    budgets = [None if gradient is None else exact(setting.u) for gradient in setting.gradients.inputs]
    for layer, position, mine in _levels(setting):
        budgets[position] = _of_features(setting, layer, position, (magnitudes[position], spread[position]), mine)
    return GradientBudget(tuple(budgets))


def _of_features(
    setting: GradientSetting, layer: RoIAlign, position: int, magnitudes: tuple[Any, Any], mine: Array
) -> Budget:
    """Of the features at a position. Args: magnitudes: of their gradient, and of what its samples spread."""
    u, (magnitude, spread) = setting.u, magnitudes
    height, width = magnitude.shape[2:]
    padded = np.pad(spread, ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = sum(padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3))
    terms = 4 * _most_samples(layer, magnitude) * len(mine) + 4
    place = float(_places(setting, layer)[mine].max(initial=0))
    some = np.maximum(magnitude, u.smallest)  # of so many terms the worst case may be infinite, and 0 times it nothing

    def error(c: Any) -> Array:
        moved = 2 * c(PLACE, u.accumulated) * place * around
        own = u.stored * np.abs(setting.gradients.inputs[position])
        return np.asarray(c(terms, u.accumulated) * some + moved + own + 8 * u.smallest)

    return both(error)
