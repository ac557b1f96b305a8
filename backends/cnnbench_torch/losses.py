"""Losses on ``torch.nn.functional``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.losses import LossFunctions
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x


LOSSES = LossFunctions(widen=_wide)


@LOSSES.register("cross_entropy")
def cross_entropy(loss: CrossEntropy, output: Tensor, targets: Tensor) -> Tensor:
    """``functional.cross_entropy``."""
    return functional.cross_entropy(output, targets, label_smoothing=loss.label_smoothing)


@LOSSES.register("mean_squared_error")
def mean_squared_error(loss: MeanSquaredError, output: Tensor, targets: Tensor) -> Tensor:
    """``functional.mse_loss``."""
    return functional.mse_loss(output, targets)
