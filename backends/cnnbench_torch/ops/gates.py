"""The functions in gates of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.spec.layers.gates import Gate


def _hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def softplus(x: Tensor, beta: float = 1.0) -> Tensor:
    """``functional.softplus``, linear from where exp(-threshold) does not show: 20 will not do in float64.

    Without a threshold PyTorch's exp overflows from 89 on.
    """
    return functional.softplus(x, beta, 40.0 if x.dtype is torch.float64 else 20.0)


# (x, alpha, beta) -> y
_VALUES: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "sigmoid": lambda x, alpha, beta: torch.sigmoid(x),
    "tanh": lambda x, alpha, beta: torch.tanh(x),
    "relu": lambda x, alpha, beta: torch.relu(x),
    "softsign": lambda x, alpha, beta: functional.softsign(x),
    "softplus": lambda x, alpha, beta: softplus(x),
    "hard_sigmoid": _hard_sigmoid,
    "elu": lambda x, alpha, beta: functional.elu(x, alpha),
    "leaky_relu": lambda x, alpha, beta: functional.leaky_relu(x, alpha),
    "thresholded_relu": lambda x, alpha, beta: torch.where(x > alpha, x, 0 * x),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "scaled_tanh": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
}


def gate_value(gate: Gate, x: Tensor) -> Tensor:
    """The function's value."""
    return _VALUES[gate.function](x, gate.alpha, gate.beta)
