"""Moves the channel axis; PyTorch programs hold channels last by memory format and need it only when asked."""

from __future__ import annotations

from torch import Tensor

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, OpResult
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("layout_change")
def layout_change(layer: LayoutChange, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``Tensor.permute``: a view."""
    return OpResult((inputs[0].permute(layer.permutation(inputs[0].dim())),))
