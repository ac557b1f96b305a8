"""Losses with their gradients."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import UnavailableError
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

Array = NDArray[Any]


@singledispatch
def loss_and_gradient(loss: Loss, output: Array, targets: Array) -> tuple[Array, Array]:
    """The loss as a scalar of the output's dtype, and its gradient with respect to the output."""
    raise UnavailableError(f"backend 'numpy' does not implement the loss {loss.kind!r}")


@loss_and_gradient.register
def cross_entropy(loss: CrossEntropy, output: Array, targets: Array) -> tuple[Array, Array]:
    """-mean_n sum_k q_k log p_k with p = softmax(logits); the gradient is (p - q) / N."""
    count, classes = output.shape
    shifted = output - output.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    q = np.full(output.shape, loss.label_smoothing / classes, output.dtype)
    q[np.arange(count), targets] += 1 - loss.label_smoothing
    return -(q * log_p).sum() / count, (np.exp(log_p) - q) / count


@loss_and_gradient.register
def mean_squared_error(loss: MeanSquaredError, output: Array, targets: Array) -> tuple[Array, Array]:
    """mean (output - target)^2; the gradient is 2 (output - target) / elements."""
    difference = output - targets
    return np.square(difference).mean(), difference * (2 / difference.size)
