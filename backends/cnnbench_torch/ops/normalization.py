"""Batch normalisation and the affine map per channel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import BatchNorm, ChannelAffine
from cnnbench.spec.layers.normalization import FrozenBatchNorm
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("batch_norm")
def batch_norm(layer: BatchNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.batch_norm``, which writes into its running statistics and therefore gets copies."""
    x = inputs[0]
    # Narrow types keep their statistics in float32, and the kernel takes parameters of one type only.
    weight, bias = (w.to(state[0].dtype) for w in weights) if layer.affine else (None, None)
    if not call.training:
        return OpResult((functional.batch_norm(x, *state, weight, bias, False, 0.0, layer.eps),), state)
    count = x.numel() // x.shape[1]
    if layer.running_variance == "biased" and count == 1:
        return _of_one_value(layer, x, weight, bias, state)
    if layer.running_variance == "unbiased":
        mean, variance = state[0].clone(), state[1].clone()
        y = functional.batch_norm(x, mean, variance, weight, bias, True, layer.momentum, layer.eps)
        return OpResult((y,), (mean, variance))
    # PyTorch stores the unbiased variance only: with momentum 1 it hands out the batch's, to be scaled back.
    mean, variance = torch.zeros_like(state[0]), torch.zeros_like(state[1])
    y = functional.batch_norm(x, mean, variance, weight, bias, True, 1.0, layer.eps)
    batch = (mean, variance * ((count - 1) / count))
    return OpResult((y,), _moved(layer, state, batch))


def _moved(layer: BatchNorm, state: Tensors, batch: Tensors) -> Tensors:
    """The running statistics, moved towards those of a batch."""
    keep, m = 1.0 - layer.momentum, layer.momentum
    return tuple(keep * old + m * new for old, new in zip(state, batch, strict=True))


def _of_one_value(layer: BatchNorm, x: Tensor, weight: Tensor | None, bias: Tensor | None, state: Tensors) -> OpResult:
    """One value a channel is its mean, so the output is the bias. PyTorch refuses it: "Expected more than 1 value"."""
    shape = (1, -1, *(1,) * (x.dim() - 2))
    values = x.detach().reshape(-1).to(state[0].dtype)
    y = (x - x).to(state[0].dtype)
    if weight is not None and bias is not None:
        y = y * weight.reshape(shape) + bias.reshape(shape)
    return OpResult((y.to(x.dtype),), _moved(layer, state, (values, torch.zeros_like(values))))


@OPERATIONS.register("frozen_batch_norm")
def frozen_batch_norm(
    layer: FrozenBatchNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """As torchvision: a scale and a shift made of the four weights, then one fused multiply and add."""
    weight, bias, mean, variance = (w.to(torch.promote_types(w.dtype, torch.float32)) for w in weights)
    scale = weight * torch.rsqrt(variance + layer.eps)
    shape = (1, -1, *(1,) * (inputs[0].dim() - 2))
    y = torch.addcmul((bias - mean * scale).reshape(shape), inputs[0], scale.reshape(shape))
    return OpResult((y.to(inputs[0].dtype),))


@OPERATIONS.register("channel_affine")
def channel_affine(layer: ChannelAffine, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """One fused multiply and add."""
    shape = (1, -1, *(1,) * (inputs[0].dim() - 2))
    weight, bias = (w.reshape(shape) for w in weights)
    return OpResult((torch.addcmul(bias, inputs[0], weight),))
