"""Faults of losses: as layers, and as what a network is trained by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.case import Training
from cnnbench.numerics.faults.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.configurations import classifier
from cnnbench.numerics.faults.drawn import Drawn, integers, normal, on, shares
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.detection_loss import YoloLoss
from cnnbench.spec.layers.element_loss import BCEWithLogitsLoss, SmoothL1Loss
from cnnbench.spec.layers.loss import CrossEntropyLoss, DiceLoss
from cnnbench.spec.losses import BCEWithLogits, Loss, SmoothL1

_PLANE = Drawn((3, 4, 5), normal())
_LOGITS = Drawn((5, 3, 4), normal())


def _unstable(right: Operation, table: Operations) -> Operation:
    """log(1 + exp(x)) as it is written, which overflows."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        values = inputs
        for part in (Elementwise(function="exp"), Affine(shift=1.0), Elementwise(function="log")):
            values = table[part.kind].forward(part, values, (), (), call).outputs
        return result._replace(outputs=values)

    return Operation(forward, right.backward, right.weight_layout)


def _counts_ignored(right: Operation, table: Operations) -> Operation:
    """The sum over the number of all targets."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        total = right.forward(replace(layer, reduction="sum"), inputs, weights, state, call).outputs[0]
        count = 1
        for size in inputs[1].shape:
            count *= int(size)
        return result._replace(outputs=(total / count,))

    return Operation(forward, right.backward, right.weight_layout)


def _wide_parabola(loss: Loss) -> Loss:
    return replace(loss, beta=1.0) if isinstance(loss, SmoothL1) else loss


def _unweighted(loss: Loss) -> Loss:
    return replace(loss, pos_weight=1.0) if isinstance(loss, BCEWithLogits) else loss


FAULTS = (
    Fault(
        "smooth_l1_loss.beta",
        "smooth_l1_loss",
        "beta 1 where 1/9 was asked for (the original Fast R-CNN's for Detectron's)",
        on(SmoothL1Loss(beta=1 / 9), _PLANE, _PLANE),
        operation=other_layer(lambda layer: replace(layer, beta=1.0)),
    ),
    Fault(
        "smooth_l1_loss.huber",
        "smooth_l1_loss",
        "Huber's loss, beta times smooth L1",
        on(SmoothL1Loss(beta=0.5), _PLANE, _PLANE),
        operation=other_layer(lambda layer: replace(layer, form="huber")),
    ),
    Fault(
        "bce_with_logits_loss.unstable",
        "softplus",
        "log(1 + exp(-x)) as it is written, infinite for large negative logits",
        on(BCEWithLogitsLoss(reduction="none"), Drawn((3, 4, 5), normal(80.0)), Drawn((3, 4, 5), shares)),
        node="suspect.softplus",
        operation=_unstable,
    ),
    Fault(
        "bce_with_logits_loss.pos_weight",
        "bce_with_logits_loss",
        "the weight of positive targets forgotten",
        on(BCEWithLogitsLoss(pos_weight=3.0), _PLANE, Drawn((3, 4, 5), shares)),
        operation=other_layer(lambda layer: replace(layer, pos_weight=1.0)),
    ),
    Fault(
        "cross_entropy_loss.mean_counts_ignored",
        "nll_loss",
        "a mean over all targets, those that are ignored among them",
        on(CrossEntropyLoss(), _LOGITS, Drawn((3, 4), integers(5, ignored=-100))),
        node="suspect.nll",
        operation=_counts_ignored,
    ),
    Fault(
        "cross_entropy_loss.label_smoothing_off_by_one",
        "cross_entropy_loss",
        "the smoothed mass spread over the K - 1 other classes and not over all K",
        on(CrossEntropyLoss(label_smoothing=0.1), _LOGITS, Drawn((3, 4), integers(5))),
        operation=other_layer(lambda layer: replace(layer, label_smoothing=layer.label_smoothing * 5 / 4)),
    ),
    Fault(
        "dice_loss.no_smooth",
        "dice_loss",
        "the smoothing term forgotten",
        on(DiceLoss(), Drawn((3, 4, 5), shares), Drawn((3, 4, 5), shares)),
        operation=other_layer(lambda layer: replace(layer, smooth=0.0)),
    ),
    Fault(
        "dice_loss.squared",
        "dice_loss",
        "V-Net's squares in the divisor where sums were asked for",
        on(DiceLoss(), Drawn((3, 4, 5), shares), Drawn((3, 4, 5), shares)),
        operation=other_layer(lambda layer: replace(layer, squared=True)),
    ),
    Fault(
        "yolo_loss.plain_sizes",
        "yolo_loss",
        "sizes compared as they are and not by their roots",
        on(YoloLoss(boxes=2, classes=3), Drawn((13, 3, 4), shares), Drawn((8, 3, 4), shares)),
        operation=other_layer(lambda layer: replace(layer, squared=False)),
    ),
    Fault(
        "smooth_l1.training_beta",
        "loss",
        "a network trained with beta 1 where 1/9 was asked for",
        classifier(Training(loss=SmoothL1(beta=1 / 9))),
        check="gradient",
        node="loss",
        loss=_wide_parabola,
    ),
    Fault(
        "bce_with_logits.unweighted",
        "loss",
        "a network trained without the weight of positive targets",
        classifier(Training(loss=BCEWithLogits(pos_weight=4.0))),
        check="gradient",
        node="loss",
        loss=_unweighted,
    ),
)
