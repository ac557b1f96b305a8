"""Faults on the way from regions to detections."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, boxes, normal, on
from cnnbench.spec.composites.regions import ClassDetections

_HEAD = (Drawn((12, 4), normal(2.0)), Drawn((12, 16), normal()), Drawn((12, 4), boxes(36.0)))
_CUT = on(ClassDetections(height=12, width=10, detections=8, score_threshold=0.1), *_HEAD)
_FOUND = on(ClassDetections(height=28, width=30, detections=8, score_threshold=0.1), *_HEAD)

FAULTS = (
    Fault(
        "class_detections.deltas_of_the_class_before",
        "slice",
        "each class moves regions by the deltas of the class before it (the background's not left out)",
        _FOUND,
        node="suspect.deltas",
        operation=other_layer(lambda layer: replace(layer, starts=(0,), ends=(-4,)) if layer.starts == (4,) else layer),
    ),
    Fault(
        "class_detections.not_clipped",
        "class_detections",
        "boxes not clipped to the image",
        _CUT,
        operation=other_layer(lambda layer: replace(layer, height=10 * layer.height, width=10 * layer.width)),
    ),
    Fault(
        "class_detections.scales_ignored",
        "class_detections",
        "deltas decoded as if they were not scaled",
        _FOUND,
        operation=other_layer(lambda layer: replace(layer, scales=(1.0, 1.0, 1.0, 1.0))),
    ),
    Fault(
        "class_detections.score_threshold",
        "class_detections",
        "detections with probabilities up to 0.5 dropped",
        _FOUND,
        operation=other_layer(lambda layer: replace(layer, score_threshold=0.5)),
    ),
)
