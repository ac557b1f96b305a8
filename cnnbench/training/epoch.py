"""What an epoch of training came to."""

from __future__ import annotations

from cnnbench.spec.frozen import Figures


class Epoch(Figures):
    """One epoch of training.

    Args:
        epoch: From 1.
        step: Steps done when it ended.
        train_loss: The mean loss of its steps.
        test_loss: Of the test images after it.
        test_accuracy: The share of test images whose class is predicted after it.
        seconds: Of its training steps; evaluation and data preparation are left out.
    """

    epoch: int
    step: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    seconds: float
