"""What a training gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cnnbench.execution.host import HostTraining
from cnnbench.training.epoch import Epoch
from cnnbench.training.target import Target


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a run gives.

    Args:
        losses: Of each step, before its update. epochs: what each came to.
        predictions, targets: Classes of the test images after the last epoch (N,); () for what is no classifier.
        final: Weights, running statistics and slots at the end.
        outputs: Of the test images after the last epoch, by name.
        images: The test images.
        target: What was to be reached, and when it was; None where the settings name none.
    """

    losses: tuple[float, ...]
    epochs: tuple[Epoch, ...]
    predictions: tuple[int, ...]
    targets: tuple[int, ...]
    final: HostTraining
    outputs: Mapping[str, NDArray[Any]]
    images: NDArray[Any]
    target: Target | None = None

    @property
    def test_accuracy(self) -> float | None:
        """The share of test images whose class is predicted after the last epoch."""
        return self.epochs[-1].test_accuracy
