"""Faults of the loss that a network is trained by, located at the loss."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.case import TrainingSteps
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import SMOOTHED, classifier
from cnnbench.spec.losses import BCEWithLogits, CrossEntropy, Loss, SmoothL1

CLASSES = 5


def _wide_parabola(loss: Loss) -> Loss:
    return replace(loss, beta=1.0) if isinstance(loss, SmoothL1) else loss


def _unweighted(loss: Loss) -> Loss:
    return replace(loss, pos_weight=1.0) if isinstance(loss, BCEWithLogits) else loss


def _over_others(loss: Loss) -> Loss:
    """e spread over K - 1 classes is smoothing by e K / (K - 1)."""
    if not isinstance(loss, CrossEntropy):
        return loss
    return replace(loss, label_smoothing=loss.label_smoothing * CLASSES / (CLASSES - 1))


def _unsmoothed(loss: Loss) -> Loss:
    return replace(loss, label_smoothing=0.0) if isinstance(loss, CrossEntropy) else loss


FAULTS = (
    Fault(
        "smooth_l1.training_beta",
        "loss",
        "a network trained with beta 1 where 1/9 was asked for",
        classifier(TrainingSteps(loss=SmoothL1(beta=1 / 9))),
        check="gradient",
        node="loss",
        loss=_wide_parabola,
    ),
    Fault(
        "bce_with_logits.unweighted",
        "loss",
        "a network trained without the weight of positive targets",
        classifier(TrainingSteps(loss=BCEWithLogits(pos_weight=4.0))),
        check="gradient",
        node="loss",
        loss=_unweighted,
    ),
    Fault(
        "cross_entropy.label_smoothing_off_by_one",
        "loss",
        "the smoothed mass spread over the K - 1 other classes and not over all K",
        classifier(SMOOTHED),
        check="gradient",
        node="loss",
        loss=_over_others,
    ),
    Fault(
        "cross_entropy.no_label_smoothing",
        "loss",
        "label smoothing ignored",
        classifier(SMOOTHED),
        check="gradient",
        node="loss",
        loss=_unsmoothed,
    ),
)
