"""Losses: (loss, output, targets) -> (the scalar, its gradient with respect to the output), in the output's dtype."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import BoundLoss, LossFunction, LossFunctions, bound_loss
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError, Objective
from cnnbench_numpy.ops import REFERENCE

Array = NDArray[Any]

LOSSES = LossFunctions()


def loss_function(loss: Loss, output: Shape, options: ProgramOptions) -> LossFunction:
    """(main output of this shape, targets) -> the loss and the output's gradient.

    A loss without a function here is its layer on the reference ops, whatever op of the network was replaced.

    Args:
        loss: One of this backend's, another one, or a scalar output of the network.
        output: The main output's shape.
        options: Of the program.
    """
    if isinstance(loss, Objective):
        loss.require_scalar(output, "loss")
    return LOSSES.find(loss, output) or partial(by_layer, bound_loss(loss, output, REFERENCE, options))


@LOSSES.register("cross_entropy", rank=2)
def cross_entropy(loss: CrossEntropy, output: Array, targets: Array) -> tuple[Array, Array]:
    """-mean_n sum_k q_k log p_k with p = softmax(logits); the gradient is (p - q) / N."""
    count, classes = output.shape
    shifted = output - output.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    q = np.full(output.shape, loss.label_smoothing / classes, output.dtype)
    q[np.arange(count), targets] += 1 - loss.label_smoothing
    return -(q * log_p).sum() / count, (np.exp(log_p) - q) / count


@LOSSES.register("mean_squared_error")
def mean_squared_error(loss: MeanSquaredError, output: Array, targets: Array) -> tuple[Array, Array]:
    """mean (output - target)^2; the gradient is 2 (output - target) / elements."""
    difference = output - targets
    return np.square(difference).mean(), difference * (2 / difference.size)


@LOSSES.register("objective")
def objective(loss: Objective, output: Array, targets: Array) -> tuple[Array, Array]:
    """The output itself, whose gradient is 1."""
    return output, np.ones_like(output)


def by_layer(bound: BoundLoss, output: Array, targets: Array) -> tuple[Array, Array]:
    """The layer's forward and backward functions.

    Args:
        bound: The loss's layer on the reference ops.
        output: The network's main output.
        targets: Of the batch.
    """
    value, tape = bound.recorded(output, targets)
    return value, bound.gradient(tape, np.ones_like(value))
