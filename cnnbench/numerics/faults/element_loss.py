"""Faults of losses element by element, as layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, normal, on, shares
from cnnbench.spec.composites.element_loss import BCEWithLogitsLoss, SmoothL1Loss
from cnnbench.spec.layers.arithmetic import Affine, Elementwise

_PLANE = Drawn((3, 4, 5), normal())


def _unstable(right: Operation, table: Operations) -> Operation:
    """log(1 + exp(x)) as it is written, which overflows."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        values = inputs
        for part in (Elementwise(function="exp"), Affine(shift=1.0), Elementwise(function="log")):
            values = table[part.kind].forward(part, values, (), (), call).outputs
        return result._replace(outputs=values)

    return Operation(forward, right.backward, right.weight_layout)


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
)
