"""Faults of detectors: regions, anchors, suppression."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_operands
from cnnbench.numerics.faults.engine.drawn import CLASS_GAP, Drawn, boxes, crowd, crowds, integers, lattice, normal, on
from cnnbench.spec.layers import Concat
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, RoIMaxPool

REGIONS = (
    Drawn((3, 9, 12), normal()),
    Drawn((5, 4), boxes(36.0), batched=False),
    Drawn((5,), integers(2), batched=False),
)
_SCORES = Drawn((16,), normal())
_DENSE = NonMaxSuppression(iou_threshold=0.4, max_outputs=64)


def _worst_first(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0], -inputs[1]), weights, state, call


def _corners_moved(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    """floor(x) is round(x - 1/2), but for whole numbers."""
    moved = inputs[1] - 0.49 / layer.spatial_scale
    return (inputs[0], moved, *inputs[2:]), weights, state, call


def _last_pixel_within(right: Operation, table: Operations) -> Operation:
    """Corners x2, y2 as the last pixels within, so that a side is x2 - x1 + 1."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        corners = inputs[0]
        parts = (corners[..., :2], corners[..., 2:] + 1)
        (wider,) = table["concat"].forward(Concat(axis=len(corners.shape) - 1), parts, (), (), call).outputs
        return right.forward(layer, (wider, inputs[1]), weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


def _classes_together(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0] % CLASS_GAP, inputs[1]), weights, state, call


FAULTS = (
    Fault(
        "roi_max_pool.rounding",
        "roi_max_pool",
        "corners of regions rounded down and not to the nearest pixel",
        on(RoIMaxPool(output_size=3, spatial_scale=0.25), *REGIONS),
        operation=other_operands(_corners_moved),
    ),
    Fault(
        "anchor_grid.ratio_inverted",
        "anchor_grid",
        "aspect ratios taken as width / height",
        on(AnchorGrid(sizes=(16.0,), aspect_ratios=(0.5, 1.0)), Drawn((1, 3, 4), normal())),
        operation=other_layer(lambda layer: replace(layer, aspect_ratios=tuple(1 / r for r in layer.aspect_ratios))),
    ),
    Fault(
        "anchor_grid.not_rounded",
        "anchor_grid",
        "anchors left at fractions of a pixel, where weights were trained with rounded ones",
        on(AnchorGrid(sizes=(32.0,)), Drawn((1, 3, 4), normal())),
        operation=other_layer(lambda layer: replace(layer, rounded=False)),
    ),
    Fault(
        "non_max_suppression.threshold_inclusive",
        "non_max_suppression",
        "a box suppressed whose overlap is just the threshold",
        on(NonMaxSuppression(iou_threshold=1 / 3, max_outputs=16), Drawn((16, 4), lattice), _SCORES),
        operation=other_layer(lambda layer: replace(layer, iou_threshold=layer.iou_threshold - 1e-6)),
    ),
    Fault(
        "non_max_suppression.order",
        "non_max_suppression",
        "boxes visited from the worst to the best (an ascending sort)",
        on(NonMaxSuppression(iou_threshold=0.4, max_outputs=16), Drawn((16, 4), crowd), _SCORES),
        operation=other_operands(_worst_first),
    ),
    Fault(
        "non_max_suppression.centre_format",
        "non_max_suppression",
        "corners read as centre and size",
        on(NonMaxSuppression(iou_threshold=0.4, max_outputs=16), Drawn((16, 4), crowd), _SCORES),
        operation=other_layer(lambda layer: replace(layer, box_format="center")),
    ),
    Fault(
        "non_max_suppression.score_threshold",
        "non_max_suppression",
        "boxes with scores up to 0.5 dropped where the threshold was 0",
        on(NonMaxSuppression(iou_threshold=0.4, max_outputs=16, score_threshold=0.0), Drawn((16, 4), crowd), _SCORES),
        operation=other_layer(lambda layer: replace(layer, score_threshold=0.5)),
    ),
    Fault(
        "non_max_suppression.other_threshold",
        "non_max_suppression",
        "boxes kept up to an overlap of 0.5, the usual default, where the threshold was 0.4",
        on(_DENSE, Drawn((64, 4), crowd), Drawn((64,), normal())),
        operation=other_layer(lambda layer: replace(layer, iou_threshold=0.5)),
    ),
    Fault(
        "non_max_suppression.last_pixel",
        "non_max_suppression",
        "sides counted as x2 - x1 + 1 (Fast R-CNN's and py-faster-rcnn's convention of pixels)",
        on(_DENSE, Drawn((64, 4), crowd), Drawn((64,), normal())),
        operation=_last_pixel_within,
    ),
    Fault(
        "non_max_suppression.classes_together",
        "non_max_suppression",
        "the offset left out that sets the boxes of each class apart, so that one class suppresses another",
        on(NonMaxSuppression(iou_threshold=0.4, max_outputs=16), Drawn((16, 4), crowds), _SCORES),
        operation=other_operands(_classes_together),
    ),
)
