"""Layers that move values."""

from __future__ import annotations

from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Flatten, Pad
from cnnbench_torch.ops.registry import OPERATIONS
from cnnbench_torch.ops.windows import pad_spatial

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("flatten")
def flatten(layer: Flatten, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``Tensor.flatten``: joins axes in logical order, whatever the memory format."""
    return OpResult((inputs[0].flatten(layer.start_axis),))


@OPERATIONS.register("pad")
def pad(layer: Pad, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.pad`` with a constant, the channel axis included."""
    return OpResult((pad_spatial(inputs[0], layer.padding, layer.value),))
