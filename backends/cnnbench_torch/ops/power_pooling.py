"""Pooling by the p-norm on PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.power_pooling import LpPool
from cnnbench_torch.ops.pooling import windowed_sum
from cnnbench_torch.ops.registry import OPERATIONS
from cnnbench_torch.ops.windows import full_padding, nothing, pad_spatial

Tensors = tuple[Tensor, ...]


def _power(layer: LpPool, x: Tensor) -> Tensor:
    if layer.p == 2:
        return x * x
    magnitude = x.abs() if layer.by_magnitude and layer.p % 2 else x
    return magnitude if layer.p == 1 else magnitude.pow(layer.p)


@OPERATIONS.register("lp_pool")
def lp_pool(layer: LpPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The root of a windowed sum of powers, as ``lp_poolNd``, which has no padding; the gradient at norm 0 is 0."""
    x = inputs[0]
    if x.shape[0] == 0:
        return OpResult((nothing(layer, x, weights),))
    spatial = tuple(x.shape[2:])
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    powers = pad_spatial(_power(layer, wide), full_padding(layer, spatial)[1])
    total = windowed_sum(powers, layer.window())
    if layer.rescale_partial:
        scale = torch.ones((), dtype=total.dtype, device=total.device)
        for factors in layer.partial_scales(spatial):
            scale = scale.unsqueeze(-1) * torch.tensor(factors, dtype=total.dtype, device=total.device)
        total = total * scale
    if layer.p == 1:
        return OpResult((total.to(x.dtype),))
    zero = total == 0
    safe = torch.where(zero, 1.0, total)
    root = safe.sqrt() if layer.p == 2 else safe.pow(1 / layer.p)
    return OpResult((torch.where(zero, 0.0, root).to(x.dtype),))
