"""Losses on ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import LossFunctions, bound_loss
from cnnbench.execution.operations import Operations
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

LossFunction = Callable[[Tensor, Tensor], Tensor]

LOSSES = LossFunctions()


def loss_function(loss: Loss, output: Shape, operations: Operations, options: ProgramOptions) -> LossFunction:
    """(main output of this shape, targets) -> the scalar, in float32 where the output is narrower.

    A loss without a function here is its layer on ``operations``.
    """
    function = LOSSES.find(loss, output) or bound_loss(loss, output, operations, options)
    return lambda output, targets: function(_wide(output), _wide(targets))


@LOSSES.register("cross_entropy")
def cross_entropy(loss: CrossEntropy, output: Tensor, targets: Tensor) -> Tensor:
    """``functional.cross_entropy``."""
    return functional.cross_entropy(output, targets, label_smoothing=loss.label_smoothing)


@LOSSES.register("mean_squared_error")
def mean_squared_error(loss: MeanSquaredError, output: Tensor, targets: Tensor) -> Tensor:
    """``functional.mse_loss``."""
    return functional.mse_loss(output, targets)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x
