"""What an epoch of training came to."""

from __future__ import annotations

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
        metrics: Of the test images after it; with intervals and what each image contributed after the last one.
    """

    epoch: int
    step: int
    train_loss: float
    test_loss: float | None = None
    test_accuracy: float | None = None
    seconds: float
    metrics: tuple[Score, ...] = ()

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
