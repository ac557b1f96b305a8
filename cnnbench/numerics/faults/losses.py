"""Faults of the loss that a network is trained by, located at the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import SMOOTHED, classifier
from cnnbench.numerics.faults.engine.programs import Moment, ProgramChange, changed_programs
from cnnbench.spec.losses import BCEWithLogits, CrossEntropy, Loss, SmoothL1
from cnnbench.training.steps import TrainingSteps

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


def _without_class_weights(loss: Loss) -> Loss:
    return replace(loss, class_weights=None) if isinstance(loss, CrossEntropy) else loss


# name: what goes wrong with the loss's value while its gradient is right, and the value that is reported
WRONG_VALUES: dict[str, tuple[str, Callable[[float, Moment], float]]] = {
    "value_plus_one": ("the reported loss is 1 more", lambda value, moment: value + 1),
    "value_zero": ("the reported loss is 0", lambda value, moment: 0.0),
    "value_nan": ("the reported loss is NaN", lambda value, moment: math.nan),
    "value_summed": ("the reported loss is a sum over images where a mean was asked for", lambda v, m: v * m.images),
    "value_percent": ("the reported loss is 1 % less", lambda value, moment: value * 0.99),
}
_PLAIN = classifier(TrainingSteps(loss=CrossEntropy()))


def _values(check: str, compiler: str, prefix: str = "") -> tuple[Fault, ...]:
    return tuple(
        Fault(
            f"cross_entropy.{prefix}{name}",
            "loss",
            what,
            _PLAIN,
            check=check,
            node="loss",
            programs=changed_programs(ProgramChange(loss=change), (compiler,)),
        )
        for name, (what, change) in WRONG_VALUES.items()
    )


FAULTS = (
    *_values("gradient", "compile_gradient"),
    *_values("training", "compile_step", "step_"),
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
    Fault(
        "cross_entropy.unweighted",
        "loss",
        "a network trained without the weights of classes",
        classifier(TrainingSteps(loss=CrossEntropy(class_weights=(0.2, 1.0, 3.0, 0.5, 1.0)))),
        check="gradient",
        node="loss",
        loss=_without_class_weights,
    ),
)
