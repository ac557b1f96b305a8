"""Losses on ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.losses import bound_loss
from cnnbench.execution.operations import Operations
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

LossFunction = Callable[[Tensor, Tensor], Tensor]


def loss_function(loss: Loss, output: Shape, operations: Operations, options: ProgramOptions) -> LossFunction:
    """(main output of this shape, targets) -> the scalar, in float32 where the output is narrower.

    A loss without a counterpart is its layer on this backend's operations.
    """
    match loss:
        case CrossEntropy(label_smoothing=smoothing):
            return lambda output, targets: functional.cross_entropy(_wide(output), targets, label_smoothing=smoothing)
        case MeanSquaredError():
            return lambda output, targets: functional.mse_loss(_wide(output), _wide(targets))
    bound = bound_loss(loss, output, operations, options)
    return lambda output, targets: bound(_wide(output), _wide(targets))


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x
