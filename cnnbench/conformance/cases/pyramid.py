"""Regions of feature pyramids: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.detection import boxes, crowded
from cnnbench.spec.composites.pyramid import PyramidProposals, PyramidRoIAlign

CASES = {
    "pyramid_proposals/two_levels": LayerCase(
        PyramidProposals(height=24, width=20, before=12, after=14, iou_threshold=0.3, min_size=2.0),
        ((20,), (20, 4), (20, 4), (6,), (6, 4), (6, 4)),
        draws=(None, None, crowded, None, None, crowded),
        batched=(True, True, False) * 2,
        scale=0.7,
    ),
    "pyramid_proposals/one_level": LayerCase(
        PyramidProposals(height=24, width=20, before=50, after=12),
        ((9,), (9, 4), (9, 4)),
        draws=(None, None, crowded),
        batched=(True, True, False),
        scale=0.7,
    ),
    "pyramid_roi_align/three_levels": LayerCase(
        PyramidRoIAlign(output_size=(2, 3), strides=(4, 8, 16), finest=12.0),
        ((2, 16, 20), (2, 8, 10), (2, 4, 5), (6, 4)),
        draws=(None, None, None, boxes(56.0)),
        differences=False,
    ),
    "pyramid_roi_align/one_level": LayerCase(
        PyramidRoIAlign(output_size=2, strides=(4,), aligned=True),
        ((2, 9, 12), (5, 4)),
        draws=(None, boxes(36.0)),
        differences=False,
    ),
}
