"""Layers that give values another shape: views where PyTorch has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.shape import Expand, Flatten, Pad, Tile, Transpose, padded_from
from cnnbench_torch.ops import inductor
from cnnbench_torch.ops.registry import OPERATIONS
from cnnbench_torch.ops.windows import pad_spatial

Tensors = tuple[Tensor, ...]
_NATIVE = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


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


@OPERATIONS.register("pad")
def pad(layer: Pad, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.pad``; copies by index where it has no such mode, channel axis or dtype."""
    x = inputs[0]
    if layer.mode == "constant":
        return OpResult((pad_spatial(x, layer.padding, layer.value),))
    if layer.mode in _NATIVE and not any(layer.padding[0]) and 3 <= x.dim() <= 5 and x.is_floating_point():
        flat = [amount for pair in reversed(layer.padding[1:]) for amount in pair]
        if layer.mode == "edge" and torch.compiler.is_compiling():
            x = x.contiguous()  # else its gradient is refused: Inductor expects it in channels-last, and it is not
        return OpResult((functional.pad(x, flat, mode=_NATIVE[layer.mode]),))
    for axis, (begin, end) in enumerate(layer.padding, start=1):
        if begin or end:
            source = padded_from(layer.mode, x.shape[axis], begin, end)
            x = inductor.index_select(x, axis, torch.tensor(source, device=x.device))
    return OpResult((x,))
