"""Normalisation by magnitude."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, LpNorm, RMSNorm
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("local_response_norm")
def local_response_norm(
    layer: LocalResponseNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """``functional.local_response_norm``, which divides alpha and puts the extra channel before.

    It pools in three dimensions, which narrow types lack, and takes no table: there, channels are shifted and added.
    """
    x = inputs[0]
    before, after = layer.reach()
    if x.dim() > 2 and before >= after and x.dtype in (torch.float32, torch.float64):
        alpha = layer.factor() * layer.size
        return OpResult((functional.local_response_norm(x, layer.size, alpha, layer.beta, layer.k),))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    channels = x.shape[1]
    padded = functional.pad(wide.square(), (*(0, 0) * (x.dim() - 2), before, after))
    total = padded[:, :channels]
    for shift in range(1, before + after + 1):
        total = total + padded[:, shift : shift + channels]
    return OpResult(((wide * (total * layer.factor() + layer.k).pow(-layer.beta)).to(x.dtype),))


@OPERATIONS.register("rms_norm")
def rms_norm(layer: RMSNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.rms_norm``."""
    x = inputs[0]
    return OpResult((functional.rms_norm(x, x.shape[layer.start_axis :], *weights, eps=layer.eps),))


@OPERATIONS.register("filter_response_norm")
def filter_response_norm(
    layer: FilterResponseNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """As the paper's listing, the mean square in float32 at least."""
    x = inputs[0]
    shape = (1, -1, *(1,) * (x.dim() - 2))
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean_square = wide.square().mean(tuple(range(2, x.dim())), keepdim=True)
    weight, bias = (w.reshape(shape).to(wide.dtype) for w in weights)
    y = torch.addcmul(bias, wide * torch.rsqrt(mean_square + layer.eps), weight)
    return OpResult((y.to(x.dtype),))


@OPERATIONS.register("lp_normalization")
def lp_normalization(layer: LpNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.normalize``."""
    return OpResult((functional.normalize(inputs[0], float(layer.p), layer.axis, layer.eps),))
