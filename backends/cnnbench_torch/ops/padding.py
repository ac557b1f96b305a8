"""Padding by ``functional.pad``, or by copies where it has no such mode."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.padding import Pad, padded_from
from cnnbench_torch.ops import inductor
from cnnbench_torch.ops.registry import OPERATIONS
from cnnbench_torch.ops.windows import pad_spatial

Tensors = tuple[Tensor, ...]
_NATIVE = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@OPERATIONS.register("pad")
def pad(layer: Pad, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.pad``; copies by index where it has no such mode, channel axis or dtype."""
    x = inputs[0]
    if layer.mode == "constant":
        return OpResult((pad_spatial(x, layer.padding, layer.constant),))
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
