"""Positions of max pooling's maxima."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.max_positions import MaxPoolPositions
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("max_pool_positions")
def max_pool_positions(
    layer: MaxPoolPositions, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """Windows gathered as rows; ``max_pool2d``'s own indices know no asymmetric padding and no other order."""
    x = inputs[0]
    taken, inside, numbers = (torch.as_tensor(array, device=x.device) for array in layer.places(tuple(x.shape)))
    images = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    taps = torch.where(inside, images[:, :, taken], -math.inf)
    first = torch.argmax(taps.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf), dim=-1, keepdim=True)
    found = torch.gather(numbers.expand(taps.shape), -1, first)[..., 0]
    if layer.counted == "tensor":
        images_before = torch.arange(x.shape[0] * x.shape[1], device=x.device).reshape(*x.shape[:2], 1)
        found = found + images_before * images.shape[2]
    return OpResult((found.reshape(layer.output_shapes((tuple(x.shape),))[0]),))
