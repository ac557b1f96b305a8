"""Normalisation by each image's own mean and variance.

Two defects of PyTorch 2.13 on the host are worked around, both silent, where images lie channels-last: group norm takes
the variance in one pass (at mean 1000 and deviation 1 it errs by 0.1), and instance norm of a single image has a wrong
gradient. Group norm of centred values has neither, and is the fastest.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("layer_norm")
def layer_norm(layer: LayerNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.layer_norm``."""
    x = inputs[0]
    return OpResult((functional.layer_norm(x, x.shape[layer.start_axis :], *weights, eps=layer.eps),))


def _group_norm(x: Tensor, groups: int, weights: Tensors, eps: float) -> Tensor:
    """``torch.group_norm``, of values whose mean is subtracted first where its variance would cancel.

    Narrow types do without: their sums are held in float32, and no deviation is below 2^-11 of its mean. The backward
    pass of PyTorch 2.13 ends in a segmentation fault where channels-last values need no gradient and weights do.
    ``functional.group_norm`` is the same behind a test that refuses one image of one value for each channel.
    """
    if weights and weights[0].requires_grad and not x.requires_grad:
        x = x.contiguous()
    if x.dtype in (torch.float32, torch.float64) and not x.is_contiguous():
        count, channels = x.shape[:2]
        mean = x.detach().mean(tuple(range(2, x.dim()))).view(count, groups, channels // groups).mean(2)
        mean = mean.repeat_interleave(channels // groups, 1)
        x = x - mean.view(count, channels, *(1,) * (x.dim() - 2))  # the same output: a shift makes no difference
    return torch.group_norm(x, groups, *weights, eps=eps)


@OPERATIONS.register("instance_norm")
def instance_norm(layer: InstanceNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Group norm with a group for each channel."""
    return OpResult((_group_norm(inputs[0], inputs[0].shape[1], weights, layer.eps),))


@OPERATIONS.register("group_norm")
def group_norm(layer: GroupNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.group_norm``."""
    return OpResult((_group_norm(inputs[0], layer.groups, weights, layer.eps),))


@OPERATIONS.register("mean_variance_norm")
def mean_variance_norm(
    layer: MeanVarianceNorm, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """Centred values over their root, in float32 at least."""
    x = inputs[0].to(torch.promote_types(inputs[0].dtype, torch.float32))
    centred = x - x.mean(layer.axes, keepdim=True)
    variance = centred.square().mean(layer.axes, keepdim=True)
    if layer.eps_place == "outside":
        y = centred / (variance.sqrt() + layer.eps)
    else:
        y = centred * torch.rsqrt(variance + layer.eps)
    return OpResult((y.to(inputs[0].dtype),))
