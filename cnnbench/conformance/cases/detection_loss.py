"""Losses of detectors: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.element_loss import zero_or_one
from cnnbench.conformance.cases.loss import classes
from cnnbench.spec.composites.detection_loss import (
    HeadBoxLoss,
    HeadClassLoss,
    MaskHeadLoss,
    RPNBoxLoss,
    RPNObjectnessLoss,
)

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
    "mask_head_loss/own_class": LayerCase(
        MaskHeadLoss(),
        ((3, 4, 5), (), (4, 5), ()),
        batch=9,
        draws=(None, classes(3, -1), zero_or_one, zero_or_one),
        scale=3.0,
    ),
}
