"""Faults of YOLO's loss."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, on, shares
from cnnbench.spec.composites.yolo_loss import YoloLoss

FAULTS = (
    Fault(
        "yolo_loss.plain_sizes",
        "yolo_loss",
        "sizes compared as they are and not by their roots",
        on(YoloLoss(boxes=2, classes=3), Drawn((13, 3, 4), shares), Drawn((8, 3, 4), shares)),
        operation=other_layer(lambda layer: replace(layer, squared=False)),
    ),
)
