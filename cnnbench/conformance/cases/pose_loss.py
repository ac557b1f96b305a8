"""Losses of maps of keypoints: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.element_loss import zero_or_one
from cnnbench.conformance.cases.loss import shares
from cnnbench.spec.composites.pose_loss import KeypointHeatmapLoss

CASES = {
    "keypoint_heatmap_loss/some_visible": LayerCase(
        KeypointHeatmapLoss(), ((3, 4, 5), (3, 4, 5), (3,)), batch=3, draws=(None, shares, zero_or_one)
    ),
}
