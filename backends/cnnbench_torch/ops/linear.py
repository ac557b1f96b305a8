"""Matrix products: fully connected layers, and products of activations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench.spec.layers.linear import MatMul
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("linear")
def linear(layer: Linear, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.linear``."""
    return OpResult((functional.linear(inputs[0], weights[0], weights[1] if layer.bias else None),))


@OPERATIONS.register("matmul")
def matmul(layer: MatMul, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.matmul``; a transposed operand is a view, which its BLAS takes as it is."""
    a, b = inputs
    return OpResult((torch.matmul(a.mT if layer.transpose_a else a, b.mT if layer.transpose_b else b),))


@OPERATIONS.register("radial_basis")
def radial_basis(layer: RadialBasis, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Differences first: the expanded square would cancel."""
    distance = (inputs[0].unsqueeze(1) - weights[0]).square().sum(2)
    return OpResult((distance if layer.output == "distance" else -distance,))
