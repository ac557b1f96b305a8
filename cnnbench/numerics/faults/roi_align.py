"""Faults of regions sampled between pixels: centres, samples, levels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.detection import REGIONS
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_operands
from cnnbench.numerics.faults.engine.drawn import Drawn, boxes, integers, normal, on
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


FAULTS = (
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
