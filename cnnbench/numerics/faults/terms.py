"""Faults of losses and update rules, located at their term."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.base import Fault
from cnnbench.numerics.faults.configurations import DECAYED, SMOOTHED, classifier
from cnnbench.spec.losses import CrossEntropy, Loss
from cnnbench.spec.optimizers import SGD, Optimizer

CLASSES = 5


def _over_others(loss: Loss) -> Loss:
    """e spread over K - 1 classes is smoothing by e K / (K - 1)."""
    if not isinstance(loss, CrossEntropy):
        return loss
    return replace(loss, label_smoothing=loss.label_smoothing * CLASSES / (CLASSES - 1))


def _unsmoothed(loss: Loss) -> Loss:
    return replace(loss, label_smoothing=0.0) if isinstance(loss, CrossEntropy) else loss


def _doubled(rule: Optimizer) -> Optimizer:
    return replace(rule, weight_decay=2 * rule.weight_decay) if isinstance(rule, SGD) else rule


def _all_decay(rule: Optimizer) -> Optimizer:
    return replace(rule, decay="all") if isinstance(rule, SGD) else rule


def _nesterov(rule: Optimizer) -> Optimizer:
    return replace(rule, nesterov=True) if isinstance(rule, SGD) else rule


def _complement(rule: Optimizer) -> Optimizer:
    return replace(rule, momentum=1 - rule.momentum) if isinstance(rule, SGD) else rule


FAULTS = (
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
    Fault(
        "sgd.doubled_decay",
        "optimizer",
        "decay twice as strong: a penalty of c |w|^2 (Keras' l2) for one of c |w|^2 / 2",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_doubled,
    ),
    Fault(
        "sgd.decays_biases",
        "optimizer",
        "weight decay applied to biases too, where kernels only were to decay",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_all_decay,
    ),
    Fault(
        "sgd.nesterov",
        "optimizer",
        "Nesterov momentum where plain momentum was asked for",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_nesterov,
    ),
    Fault(
        "sgd.momentum_convention",
        "optimizer",
        "momentum taken as the weight of the new gradient",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_complement,
    ),
)
