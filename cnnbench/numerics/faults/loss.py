"""Faults of losses over classes and regions, as layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, integers, normal, on, shares
from cnnbench.spec.composites.loss import CrossEntropyLoss, DiceLoss, SoftCrossEntropyLoss, TokenCrossEntropyLoss

_LOGITS = Drawn((5, 3, 4), normal())


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


FAULTS = (
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
        "cross_entropy_loss.unweighted",
        "cross_entropy_loss",
        "the weights of classes forgotten",
        on(CrossEntropyLoss(class_weights=(0.2, 1.0, 3.0, 0.5, 1.0)), _LOGITS, Drawn((3, 4), integers(5))),
        operation=other_layer(lambda layer: replace(layer, class_weights=(1.0,) * 5)),
    ),
    Fault(
        "soft_cross_entropy_loss.unsmoothed",
        "soft_cross_entropy_loss",
        "label smoothing forgotten where targets are probabilities",
        on(SoftCrossEntropyLoss(label_smoothing=0.1), Drawn((5,), normal()), Drawn((5,), shares)),
        operation=other_layer(lambda layer: replace(layer, label_smoothing=0.0)),
    ),
    Fault(
        "token_cross_entropy_loss.padding_counts",
        "nll_loss",
        "a mean over all places of a caption, those behind its end among them",
        on(TokenCrossEntropyLoss(), Drawn((7, 5), normal()), Drawn((7,), integers(5, ignored=-1))),
        node="suspect.cross_entropy.nll",
        operation=_counts_ignored,
    ),
    Fault(
        "token_cross_entropy_loss.end_is_padding",
        "token_cross_entropy_loss",
        "the word that ends a caption taken for what lies behind it",
        on(TokenCrossEntropyLoss(), Drawn((7, 5), normal()), Drawn((7,), integers(5))),
        operation=other_layer(lambda layer: replace(layer, ignore_index=0)),
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
)
