"""Layers that give values another shape: views where PyTorch has them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.shape import Expand, Flatten, Tile, Transpose
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("flatten")
def flatten(layer: Flatten, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``Tensor.flatten``: joins axes in logical order, whatever the memory format."""
    return OpResult((inputs[0].flatten(layer.start_axis),))


@OPERATIONS.register("reshape")
@OPERATIONS.register("squeeze")
@OPERATIONS.register("unsqueeze")
def reshape(layer: Any, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``Tensor.reshape``: in logical order, whatever the memory format."""
    return OpResult((inputs[0].reshape(layer.output_shapes((tuple(inputs[0].shape),))[0]),))


@OPERATIONS.register("transpose")
def transpose(layer: Transpose, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``Tensor.permute``: a view."""
    return OpResult((inputs[0].permute(layer.permutation),))


@OPERATIONS.register("expand")
def expand(layer: Expand, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``Tensor.expand``: a view."""
    shapes = tuple(tuple(x.shape) for x in inputs)
    return OpResult((inputs[0].reshape(layer.aligned(shapes[0])).expand(layer.output_shapes(shapes)[0]),))


@OPERATIONS.register("tile")
def tile(layer: Tile, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``Tensor.repeat``."""
    return OpResult((inputs[0].repeat((1, *layer.repeats)),))
