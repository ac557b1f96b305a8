"""YOLO's loss: cases shared by all backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.loss import shares
from cnnbench.spec.composites.yolo_loss import YoloLoss
from cnnbench.spec.layers import Shape


def truth(generator: Any, shape: Shape) -> Any:
    """What YOLO's cells should hold: a box, whether there is an object, and its class."""
    found = generator.uniform(0.1, 0.9, shape)
    found[:, 4] = generator.random(found[:, 4].shape) < 0.5
    chosen = generator.integers(0, shape[1] - 5, (shape[0], 1, *shape[2:]))
    found[:, 5:] = chosen == np.arange(shape[1] - 5).reshape(1, -1, 1, 1)
    return found


def _yolo(layer: YoloLoss, differences: bool = True) -> LayerCase:
    depth = 5 * layer.boxes + layer.classes
    images = ((3, 4, depth) if layer.channels_last else (depth, 3, 4), (5 + layer.classes, 3, 4))
    return LayerCase(layer, images, draws=(shares, truth), differences=differences)


CASES = {
    "yolo_loss/one": _yolo(YoloLoss(boxes=2, classes=3, confidence="one")),
    "yolo_loss/iou": _yolo(YoloLoss(boxes=2, classes=3), differences=False),
    "yolo_loss/channels_last": _yolo(YoloLoss(boxes=2, classes=3, confidence="one", channels_last=True)),
    "yolo_loss/three_boxes": _yolo(
        YoloLoss(boxes=3, classes=2, confidence="one", squared=False, reduction="none", coord=3.0, noobj=0.25)
    ),
}
