"""Losses with their gradients; what is missing is said."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from cnnbench.errors import UnavailableError
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError


def loss_and_gradient(loss, output, targets):
    """The loss, and its gradient with respect to the output."""
    targets = np.asarray(targets)
    if isinstance(loss, CrossEntropy):
        count, classes = output.shape
        wanted = np.full(output.shape, loss.label_smoothing / classes, output.dtype)
        wanted[np.arange(count), targets] += 1 - loss.label_smoothing
        log_p = log_softmax(output, axis=1)
        return -(wanted * log_p).sum() / count, (np.exp(log_p) - wanted) / count
    if isinstance(loss, MeanSquaredError):
        difference = output - targets.astype(output.dtype)
        return np.mean(difference**2), difference * (2 / difference.size)
    raise UnavailableError(f"backend 'indexed' does not have the loss {loss.kind!r}")
