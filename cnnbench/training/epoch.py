"""What an epoch of training came to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnnbench.spec.frozen import Figures
from cnnbench.training.metrics.score import Score


class Epoch(Figures):
    """One epoch of training.

    Args:
        epoch: From 1.
        step: Steps done when it ended.
        train_loss: The mean loss of its steps.
        test_loss: Of the test images after it; None where networks train by a program, of which no single loss says
            how good they are.
        test_accuracy: The share of test images whose class is predicted after it; None for a network of another task.
        seconds: Of its training steps; evaluation and data preparation are left out.
        data_seconds: During which the steps waited for their batches; None in records of older versions.
        images: That its steps trained on; None in records of older versions.
        metrics: Of the test images after it; with intervals and what each image contributed after the last one.
    """

    epoch: int
    step: int
    train_loss: float
    test_loss: float | None = None
    test_accuracy: float | None = None
    seconds: float
    data_seconds: float | None = None
    images: int | None = None
    metrics: tuple[Score, ...] = ()

    @property
    def images_per_s(self) -> float | None:
        """Images over the seconds of the steps; None where either is not known."""
        return training_rate((self,))

    @property
    def data_share(self) -> float | None:
        """The share of the time of steps and data together that the steps waited for data."""
        return waiting_share((self,))

    @property
    def in_words(self) -> str:
        """What it reached on the test images: "test accuracy 97.20%", "mean_iou 0.912"; a loss where nothing else."""
        parts = [] if self.test_accuracy is None else [f"test accuracy {self.test_accuracy:.2%}"]
        parts += [score.in_words for score in self.metrics if score.metric != "accuracy" or not parts]
        if parts:
            return ", ".join(parts)
        if self.test_loss is None:
            return f"training loss {self.train_loss:.4g}"
        return f"test loss {self.test_loss:.4g}"


def training_rate(epochs: Sequence[Epoch]) -> float | None:
    """Images a second of training steps; evaluation and data preparation are left out.

    Args:
        epochs: Over all of which it is taken.
    """
    seconds = math.fsum(epoch.seconds for epoch in epochs)
    counts = [epoch.images for epoch in epochs if epoch.images is not None]
    return sum(counts) / seconds if seconds and counts and len(counts) == len(epochs) else None


def waiting_share(epochs: Sequence[Epoch]) -> float | None:
    """The share, from 0 to 1, of the time of steps and data together that the steps waited for data.

    Args:
        epochs: Over all of which it is taken.
    """
    waits = [epoch.data_seconds for epoch in epochs if epoch.data_seconds is not None]
    whole = math.fsum([*waits, *(epoch.seconds for epoch in epochs)])
    return math.fsum(waits) / whole if whole and waits and len(waits) == len(epochs) else None
