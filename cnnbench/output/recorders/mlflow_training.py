"""What MLflow gets of a training: the loss of each step, and what the test images came to after each epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from cnnbench.harness.passes.findings import Training
from cnnbench.harness.run.record import Record
from cnnbench.training.epoch import Epoch


def training_points(training: Training) -> Iterator[tuple[str, float, int]]:
    """(name, value, step) of each finite figure."""
    for step, loss in enumerate(training.losses, 1):
        if math.isfinite(loss):
            yield "train/loss", loss, step
    for epoch in training.epochs:
        found = {"train/test_accuracy": epoch.test_accuracy, "train/test_loss": epoch.test_loss}
        for name, value in (found | _scores(epoch, "train/")).items():
            if value is not None and math.isfinite(value):
                yield name, value, epoch.step


def final_scores(training: Training) -> dict[str, float | None]:
    """The metrics after the last epoch: ``test_mean_iou`` and the like."""
    return _scores(training.epochs[-1], "") if training.epochs else {}


def training_lines(records: Sequence[Record]) -> tuple[str, ...]:
    """The names of a training's curves, those of metrics last."""
    found = {
        name: None
        for record in records
        if record.training is not None
        for epoch in record.training.epochs
        for name in _scores(epoch, "train/")
    }
    return ("train/loss", "train/test_accuracy", "train/test_loss", *found)


def _scores(epoch: Epoch, folder: str) -> dict[str, float | None]:
    """But for the accuracy, which a classifier's training has under its own name."""
    found = [score for score in epoch.metrics if score.metric != "accuracy" or epoch.test_accuracy is None]
    return {f"{folder}test_{re.sub(r'[^A-Za-z0-9_. -]', '_', score.metric)}": score.value for score in found}
