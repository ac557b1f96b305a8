"""From a detector's head to boxes: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.detection import crowded
from cnnbench.spec.composites.proposals import ProposalSelection, YoloDecode

CASES = {
    "proposal_selection/plain": LayerCase(
        ProposalSelection(height=24, width=30, before=16, after=6, iou_threshold=0.3, min_size=4.0),
        ((20,), (20, 4), (20, 4)),
        draws=(None, None, crowded),
        batched=(True, True, False),
        scale=0.7,
    ),
    "proposal_selection/few": LayerCase(
        ProposalSelection(height=24, width=30, before=50, after=12, iou_threshold=0.5, score_threshold=0.4),
        ((8,), (8, 4), (8, 4)),
        draws=(None, None, crowded),
        batched=(True, True, False),
        scale=0.7,
    ),
    "yolo_decode/grid": LayerCase(YoloDecode(boxes=2, classes=3, height=48, width=64), ((13, 3, 4),), shift=0.5),
    "yolo_decode/plain_sizes": LayerCase(YoloDecode(boxes=1, classes=2, squared=False), ((7, 2, 3),)),
}
