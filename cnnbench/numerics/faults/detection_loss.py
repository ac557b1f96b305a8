"""Faults of losses of detectors, as layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, integers, normal, on, shares
from cnnbench.spec.composites.detection_loss import HeadBoxLoss, MaskHeadLoss, RPNBoxLoss

_ANCHORS = (Drawn((12, 4), normal()), Drawn((12, 4), normal()), Drawn((12,), shares), Drawn((12,), shares))
_ROW = Drawn((), shares)


def _first_class(right: Operation, table: Operations) -> Operation:
    """Every region takes what it has for class 0."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        values, indices = inputs
        return right.forward(layer, (values, indices * 0), weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "rpn_box_loss.beta",
        "rpn_box_loss",
        "beta 1 where 1/9 was asked for (the original Fast R-CNN's for Detectron's)",
        on(RPNBoxLoss(), *_ANCHORS),
        operation=other_layer(lambda layer: replace(layer, beta=1.0)),
    ),
    Fault(
        "head_box_loss.beta",
        "head_box_loss",
        "beta 1 where 1/9 was asked for",
        on(HeadBoxLoss(), Drawn((12,), normal()), Drawn((), integers(3)), Drawn((4,), normal()), _ROW, _ROW),
        operation=other_layer(lambda layer: replace(layer, beta=1.0)),
    ),
    Fault(
        "mask_head_loss.first_class",
        "take_rows",
        "the mask of the background where that of a region's own class is judged",
        on(MaskHeadLoss(), Drawn((3, 4, 5), normal()), Drawn((), integers(3)), Drawn((4, 5), shares), _ROW),
        node="suspect.of_class",
        operation=_first_class,
    ),
)
