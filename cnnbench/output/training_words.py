"""What became of each training run, in a sentence: its accuracy, and whether its curve is the reference's."""

from __future__ import annotations

from collections.abc import Sequence

from cnnbench.harness.passes.findings import Training
from cnnbench.harness.run.record import Record
from cnnbench.output import figures
from cnnbench.output.labels import label, network_label


def training_findings(records: Sequence[Record]) -> list[str]:
    """One sentence for each cell that trained.

    For example: "resnet20, torch eager: test accuracy 97.2 %; 812 images/s, 1.3 % of the time waiting for data; the
    curve agrees with the reference's over 40 of 60 steps (12.0 % of the admitted difference at most); later steps
    cannot be compared".
    """
    return [
        f"{network_label(record.cell)}, {label(record.cell)}: {_reached(record.training)}{_target(record.training)}"
        f"{_speed(record.training)}; "
        f"{_curve(record.training)}"
        for record in records
        if record.training is not None
    ]


def _reached(training: Training) -> str:
    if training.test_accuracy is not None:
        return f"test accuracy {figures.percent(training.test_accuracy)}"
    return training.in_words


def _target(training: Training) -> str:
    """When the target was reached, or that it was not; "" without one."""
    target = training.target
    if target is None:
        return ""
    if target.epochs_to_target is None:
        return f"; {training.missed_target}"
    epochs = f"{target.epochs_to_target} epoch{'s' * (target.epochs_to_target != 1)}"
    return (
        f"; {target.in_words} was reached after {epochs}, {figures.seconds(target.time_to_target_s)} of training steps"
    )


def _speed(training: Training) -> str:
    """How fast it trained, and whether data held it up; "" where that is not known."""
    rate, share = training.images_per_s, training.data_share
    if rate is None or share is None:
        return ""
    return f"; {figures.plain(rate)} images/s, {figures.percent(share)} of the time waiting for data"


def _curve(training: Training) -> str:
    if training.phases:
        return f"{len(training.losses) // len(training.phases)} rounds of {' and '.join(training.phases)}"
    found = training.envelope
    if found is None:
        return "the curve was compared with no reference"
    compared = f"{found.steps_compared} of {found.steps} steps"
    if found.agrees:
        share = "" if found.used is None else f" ({figures.budget_used(found.used)} of the admitted difference at most)"
        return f"the curve agrees with the reference's over {compared}{share}; later steps cannot be compared"
    if found.agrees is False:
        return f"the curve does not agree with the reference's: it parts from it at step {found.parts_at}"
    if found.parts_at:
        return (
            f"the curve agrees with the reference's up to step {found.parts_at - 1} and then parts from it, as "
            "right curves may: no verdict"
        )
    return "no step of the curve can be compared with the reference's: no verdict"
