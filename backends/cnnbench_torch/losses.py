"""Losses on ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.errors import UnavailableError
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

LossFunction = Callable[[Tensor, Tensor], Tensor]


def loss_function(loss: Loss) -> LossFunction:
    """(main output, targets) -> the scalar, in float32 where the output is narrower.

    Raises UnavailableError for a loss without a counterpart.
    """
    match loss:
        case CrossEntropy(label_smoothing=smoothing):
            return lambda output, targets: functional.cross_entropy(_wide(output), targets, label_smoothing=smoothing)
        case MeanSquaredError():
            return lambda output, targets: functional.mse_loss(_wide(output), _wide(targets))
    raise UnavailableError(f"backend 'torch' does not implement the loss {loss.kind!r}")


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
