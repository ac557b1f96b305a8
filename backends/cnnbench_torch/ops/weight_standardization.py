"""Convolution with a standardised weight on PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.weight_standardization import ScaledWSConv
from cnnbench_torch.ops.conv import conv
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


def _standardized(layer: ScaledWSConv, weight: Tensor, gain: Tensor | None) -> Tensor:
    """gain (w - m) / sqrt(D), in float32 where the type is narrower."""
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    variance, mean = torch.var_mean(wide, tuple(range(1, weight.dim())), correction=0, keepdim=True)
    count = weight[0].numel()
    if layer.form == "scaled":
        square = (variance * count).clamp(min=layer.eps)
    elif layer.form == "scaled_sum":
        square = (variance + layer.eps) * count
    else:
        square = variance + layer.eps
    factor = square.rsqrt()
    if gain is not None:
        factor = factor * gain.to(wide.dtype).reshape(factor.shape)
    return ((wide - mean) * factor).to(weight.dtype)


@OPERATIONS.register("scaled_ws_conv")
def scaled_ws_conv(layer: ScaledWSConv, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``convNd`` by the weight that ``var_mean`` standardises."""
    weight = _standardized(layer, weights[0], weights[-1] if layer.gain else None)
    return conv(layer.plain(), inputs, (weight, *weights[1 : 1 + layer.bias]), state, call)
