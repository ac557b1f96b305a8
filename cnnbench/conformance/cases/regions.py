"""From regions to detections: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.detection import crowded
from cnnbench.spec.composites.regions import ClassDetections

CASES = {
    "class_detections/crowded": LayerCase(
        ClassDetections(height=24, width=20, detections=6, score_threshold=0.2, iou_threshold=0.3, min_size=4.0),
        ((14, 4), (14, 16), (14, 4)),
        draws=(None, None, crowded),
        scale=1.5,
    ),
    "class_detections/one_class": LayerCase(
        ClassDetections(height=24, width=20, detections=20, score_threshold=0.6, scales=(1.0, 1.0, 1.0, 1.0)),
        ((9, 2), (9, 8), (9, 4)),
        draws=(None, None, crowded),
        scale=0.5,
    ),
}
