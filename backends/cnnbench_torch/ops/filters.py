"""Constant filters as depthwise convolutions."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.filters import ConstantFilter
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]
_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)


@OPERATIONS.register("constant_filter")
def constant_filter(layer: ConstantFilter, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``convNd`` with one group a channel."""
    x = inputs[0]
    make = _kernel if torch.compiler.is_compiling() else _cached_kernel  # Dynamo looks through caches, and warns
    kernel = make(layer.weights_row_major, layer.kernel_size, x.shape[1], x.dtype, x.device)
    return OpResult((_CONVOLUTIONS[x.dim() - 3](x, kernel, stride=layer.strides(), groups=x.shape[1]),))


def _kernel(
    weights: tuple[float, ...], size: tuple[int, ...], channels: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(channels, 1, *size)."""
    kernel = torch.tensor(weights, dtype=torch.float64).reshape((1, 1, *size))
    return kernel.repeat((channels, *(1,) * (len(size) + 1))).to(dtype=dtype, device=device)


@lru_cache(maxsize=256)
def _cached_kernel(
    weights: tuple[float, ...], size: tuple[int, ...], channels: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not serve a gradient later
        return _kernel(weights, size, channels, dtype, device)
