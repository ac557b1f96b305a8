"""Losses with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import BoundLoss, bound_loss
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError
from cnnbench_numpy.ops import REFERENCE

Array = NDArray[Any]
LossFunction = Callable[[Array, Array], tuple[Array, Array]]
"""(output, targets) -> the loss as a scalar of the output's dtype, and its gradient with respect to the output."""


def loss_function(loss: Loss, output: Shape, options: ProgramOptions) -> LossFunction:
    """The function of a loss of a main output of this shape: one of this module, or the reference ops of its layer."""
    if isinstance(loss, MeanSquaredError) or (isinstance(loss, CrossEntropy) and len(output) == 2):
        return partial(loss_and_gradient, loss)
    return partial(by_layer, bound_loss(loss, output, REFERENCE, options))


@singledispatch
def loss_and_gradient(loss: Loss, output: Array, targets: Array) -> tuple[Array, Array]:
    """The loss as a scalar of the output's dtype, and its gradient with respect to the output."""
    raise UnavailableError(f"backend 'numpy' has no function for the loss {loss.kind!r}", remedy="bind its layer")


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


def by_layer(bound: BoundLoss, output: Array, targets: Array) -> tuple[Array, Array]:
    """The layer's forward and backward functions."""
    value, tape = bound.recorded(output, targets)
    return value, bound.gradient(tape, np.ones_like(value))
