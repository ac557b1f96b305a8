"""Faults of the update rule that a network is trained by, located at the optimizer."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import DECAYED, classifier
from cnnbench.spec.optimizers import SGD, Optimizer


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
