"""Faults of regions sampled between pixels: centres, samples, levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.detection import REGIONS
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    OperationChange,
    choose,
    other_layer,
    other_operands,
)
from cnnbench.numerics.faults.engine.drawn import Drawn, boxes, integers, normal, on
from cnnbench.spec.layers import Concat
from cnnbench.spec.layers.roi_align import LevelRoIAlign, RoIAlign

_OF_LEVELS = on(
    LevelRoIAlign(output_size=2, strides=(4.0, 8.0, 16.0)),
    Drawn((4,), boxes(56.0)),
    Drawn((1,), integers(3)),
    Drawn((2, 14, 14), normal()),
    Drawn((2, 7, 7), normal()),
    Drawn((2, 4, 4), normal()),
    batch=6,
)


def _coarsest_first(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    boxes, levels, *features = inputs
    return (boxes, len(features) - 1 - levels, *features), weights, state, call


_HARD = (  # so many regions that each hard one is among them, along either axis
    Drawn((3, 9, 12), normal()),
    Drawn((24, 4), boxes(44.0), batched=False),
    Drawn((24,), integers(2), batched=False),
)
_ALIGNED = on(RoIAlign(output_size=2, spatial_scale=0.25, sampling_ratio=2), *_HARD)
_MANY_LEVELS = on(
    LevelRoIAlign(output_size=2, strides=(4.0, 8.0, 16.0)),
    Drawn((4,), boxes(56.0)),
    Drawn((1,), integers(3)),
    Drawn((2, 14, 14), normal()),
    Drawn((2, 7, 7), normal()),
    Drawn((2, 4, 4), normal()),
    batch=72,
)


def _with_corners(change: Callable[[Any], Any], position: int = 1) -> OperationChange:
    """Other boxes. Args: change: (x1, y1, x2, y2) along the last axis to others. position: among the operands."""

    def changed(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
        return (*inputs[:position], change(inputs[position]), *inputs[position + 1 :]), weights, state, call

    return other_operands(changed)


def _between(low: float, high: float) -> Callable[[Any], Any]:
    """Corners no lower and no higher."""
    return lambda corners: choose(corners < high, choose(corners > low, corners, low), high)


def _edges_left_out(right: Operation, table: Operations) -> Operation:
    """Samples at -1 or the size exactly as those beyond: where a shift by next to nothing changes much, its result."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        (value,) = result.outputs
        for shift in (-(2.0**-10), 2.0**-10):
            (moved,) = right.forward(layer, (inputs[0], inputs[1] + shift, *inputs[2:]), weights, state, call).outputs
            gap = moved - value
            value = value + choose(gap * gap > 0.02**2, gap, 0.0)
        return result._replace(outputs=(value,))

    return Operation(forward, right.backward, right.weight_layout)


def _a_pixel_long(right: Operation, table: Operations) -> Operation:
    """A region's far corners no nearer than a pixel, as regions that are not aligned have it."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        corners, least = inputs[1], 1 / layer.spatial_scale
        first, last = corners[..., :2], corners[..., 2:]
        longer = first + choose(last - first > least, last - first, least)
        (wider,) = table["concat"].forward(Concat(axis=1), (first, longer), (), (), call).outputs
        return right.forward(layer, (inputs[0], wider, *inputs[2:]), weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "roi_align.edges_left_out",
        "roi_align",
        "samples at -1 or at the map's size exactly left out (< where <= was meant)",
        _ALIGNED,
        operation=_edges_left_out,
    ),
    Fault(
        "roi_align.clipped_regions",
        "roi_align",
        "regions clipped to the map first, so that no sample lies outside",
        _ALIGNED,
        operation=_with_corners(_between(0.0, 48.0)),
    ),
    Fault(
        "roi_align.one_pixel_at_least",
        "roi_align",
        "aligned regions lengthened to a pixel, too (torchvision 0.5's rule for those that are not)",
        _ALIGNED,
        operation=_a_pixel_long,
    ),
    Fault(
        "roi_align.narrow_coordinates",
        "roi_align",
        "coordinates in fixed point, which end at 1,024 pixels",
        _ALIGNED,
        operation=_with_corners(_between(-1024.0, 1024.0)),
    ),
    Fault(
        "level_roi_align.clipped_regions",
        "level_roi_align",
        "regions of every level clipped to the image first, so that no sample lies outside",
        _MANY_LEVELS,
        operation=_with_corners(_between(0.0, 64.0), position=0),
    ),
    Fault(
        "roi_align.not_aligned",
        "roi_align",
        "pixel centres at whole coordinates and not half a pixel on (Detectron, torchvision's default before 0.6)",
        on(RoIAlign(output_size=3, spatial_scale=0.25, sampling_ratio=2), *REGIONS),
        operation=other_layer(lambda layer: replace(layer, aligned=False)),
    ),
    Fault(
        "roi_align.fixed_samples",
        "roi_align",
        "two samples for each cell where their number was to follow the box's size",
        on(RoIAlign(output_size=2, spatial_scale=0.25), *REGIONS),
        operation=other_layer(lambda layer: replace(layer, sampling_ratio=2)),
    ),
    Fault(
        "level_roi_align.scale_of_finest",
        "level_roi_align",
        "boxes of every level brought to the finest level's coordinates",
        _OF_LEVELS,
        operation=other_layer(lambda layer: replace(layer, strides=layer.strides[:1] * len(layer.strides))),
    ),
    Fault(
        "level_roi_align.coarsest_first",
        "level_roi_align",
        "levels counted from the coarsest on, as pyramids are built",
        _OF_LEVELS,
        operation=other_operands(_coarsest_first),
    ),
)
