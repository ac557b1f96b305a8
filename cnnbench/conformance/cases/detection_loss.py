"""Losses of detectors: cases shared by all backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.element_loss import zero_or_one
from cnnbench.conformance.cases.loss import classes, shares
from cnnbench.spec.composites.detection_loss import HeadBoxLoss, HeadClassLoss, RPNBoxLoss, RPNObjectnessLoss, YoloLoss
from cnnbench.spec.layers import Shape


def truth(generator: Any, shape: Shape) -> Any:
    """What YOLO's cells should hold: a box, whether there is an object, and its class."""
    found = generator.uniform(0.1, 0.9, shape)
    found[:, 4] = generator.random(found[:, 4].shape) < 0.5
    chosen = generator.integers(0, shape[1] - 5, (shape[0], 1, *shape[2:]))
    found[:, 5:] = chosen == np.arange(shape[1] - 5).reshape(1, -1, 1, 1)
    return found


def _yolo(layer: YoloLoss, differences: bool = True) -> LayerCase:
    images = ((5 * layer.boxes + layer.classes, 3, 4), (5 + layer.classes, 3, 4))
    return LayerCase(layer, images, draws=(shares, truth), differences=differences)


CASES = {
    "rpn_objectness_loss/sampled": LayerCase(
        RPNObjectnessLoss(), ((12,),) * 3, draws=(None, zero_or_one, zero_or_one), scale=3.0
    ),
    "rpn_box_loss/sampled": LayerCase(
        RPNBoxLoss(), ((12, 4), (12, 4), (12,), (12,)), draws=(None, None, zero_or_one, zero_or_one)
    ),
    "head_class_loss/sampled": LayerCase(HeadClassLoss(), ((5,), ()), batch=9, draws=(None, classes(5, -1))),
    "head_box_loss/own_class": LayerCase(
        HeadBoxLoss(),
        ((12,), (), (4,), (), ()),
        batch=9,
        draws=(None, classes(3, -1), None, zero_or_one, zero_or_one),
    ),
    "yolo_loss/one": _yolo(YoloLoss(boxes=2, classes=3, confidence="one")),
    "yolo_loss/iou": _yolo(YoloLoss(boxes=2, classes=3), differences=False),
    "yolo_loss/three_boxes": _yolo(
        YoloLoss(boxes=3, classes=2, confidence="one", squared=False, reduction="none", coord=3.0, noobj=0.25)
    ),
}
