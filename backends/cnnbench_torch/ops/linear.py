"""Fully connected layers."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("linear")
def linear(layer: Linear, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.linear``."""
    return OpResult((functional.linear(inputs[0], weights[0], weights[1] if layer.bias else None),))


@OPERATIONS.register("radial_basis")
def radial_basis(layer: RadialBasis, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Differences first: the expanded square would cancel."""
    distance = (inputs[0].unsqueeze(1) - weights[0]).square().sum(2)
    return OpResult((distance if layer.output == "distance" else -distance,))
