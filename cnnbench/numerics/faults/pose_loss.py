"""Faults of losses of maps of keypoints, as layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, normal, on, shares
from cnnbench.spec.composites.pose_loss import KeypointHeatmapLoss

_KEYPOINTS = (Drawn((3, 4, 5), normal()), Drawn((3, 4, 5), shares), Drawn((3,), shares))


def _ones(right: Operation, table: Operations) -> Operation:
    """1 in place of every visibility."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        return result._replace(outputs=(result.outputs[0] * 0 + 1,))

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "keypoint_heatmap_loss.all_visible",
        "unsqueeze",
        "keypoints that were not annotated count as if they were seen",
        on(KeypointHeatmapLoss(), *_KEYPOINTS),
        node="suspect.visible",
        operation=_ones,
    ),
    Fault(
        "keypoint_heatmap_loss.not_half",
        "keypoint_heatmap_loss",
        "the whole mean square where half of it was asked for",
        on(KeypointHeatmapLoss(), *_KEYPOINTS),
        operation=other_layer(lambda layer: replace(layer, scale=1.0)),
    ),
)
