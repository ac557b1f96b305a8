"""Smooth activations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign
from cnnbench_torch.ops import inductor
from cnnbench_torch.ops.gates import softplus as gate_softplus
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


def _compiled(x: Tensor, alpha: float, *, scale: float = 1.0, stretch: float = 1.0) -> Tensor:
    """scale x above 0, scale alpha (exp(x / stretch) - 1) below, for ``torch.compile``."""
    below = inductor.expm1(torch.clamp(x, max=0.0) / stretch)
    return torch.where(x > 0, scale * x, scale * alpha * below)


@OPERATIONS.register("elu")
def elu(layer: ELU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.elu``."""
    if torch.compiler.is_compiling():
        return OpResult((_compiled(inputs[0], layer.alpha),))
    return OpResult((functional.elu(inputs[0], layer.alpha),))


@OPERATIONS.register("celu")
def celu(layer: CELU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.celu``."""
    if torch.compiler.is_compiling():
        return OpResult((_compiled(inputs[0], layer.alpha, stretch=layer.alpha),))
    return OpResult((functional.celu(inputs[0], layer.alpha),))


@OPERATIONS.register("selu")
def selu(layer: SELU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.selu``."""
    if torch.compiler.is_compiling():
        return OpResult((_compiled(inputs[0], layer.ALPHA, scale=layer.SCALE),))
    return OpResult((functional.selu(inputs[0]),))


OPERATIONS.lacks(
    "gelu",
    "PyTorch's exact gelu (oneDNN) is NaN for inf where the tensor holds more than one value",
    modes=("eager",),
    special_values="always",
)


@OPERATIONS.register("gelu")
def gelu(layer: GELU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.gelu``, which has both forms."""
    return OpResult((functional.gelu(inputs[0], approximate="tanh" if layer.form == "tanh" else "none"),))


@OPERATIONS.register("silu")
def silu(layer: SiLU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.silu`` for a beta of 1, else x times a sigmoid."""
    x = inputs[0]
    return OpResult((functional.silu(x) if layer.beta == 1 else x * torch.sigmoid(layer.beta * x),))


@OPERATIONS.register("softplus")
def softplus(layer: Softplus, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.softplus``, as in gates."""
    return OpResult((gate_softplus(inputs[0], layer.beta),))


@OPERATIONS.register("softsign")
def softsign(layer: Softsign, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.softsign``."""
    return OpResult((functional.softsign(inputs[0]),))


@OPERATIONS.register("mish")
def mish(layer: Mish, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.mish``."""
    return OpResult((functional.mish(inputs[0]),))
