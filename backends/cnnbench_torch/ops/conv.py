"""Convolutions on ``torch.nn.functional``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers.conv import Conv, PartialConv, connection_shape
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_torch.ops.registry import OPERATIONS
from cnnbench_torch.ops.windows import nothing, pad_spatial, symmetric

Tensors = tuple[Tensor, ...]
_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)


def _correlated(layer: Conv, name: str, array: Any, channels_last: bool) -> Any:
    return layer.correlated(array) if name == "weight" else array


CORRELATED = WeightLayout(_correlated, _correlated)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, layer: Conv | PartialConv, groups: int = 1) -> Tensor:
    window = layer.window()
    pairs = require_pairs(layer.padding)
    padding = symmetric(pairs)
    if padding is None:
        x, padding = pad_spatial(x, pairs), (0,) * len(pairs)
    function = _CONVOLUTIONS[len(pairs) - 1]
    return function(x, weight, bias, window.stride, padding, window.dilation, groups)


OPERATIONS.lacks(
    "conv",
    "a pointwise convolution of an odd number of channels (oneDNN) takes 0 times the next pixel, NaN where that is not "
    "finite",
    precisions=("bfloat16",),
    modes=("eager",),
    special_values="always",
)


@OPERATIONS.register("conv", weight_layout=CORRELATED)
def conv(layer: Conv, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``conv1d``, ``conv2d`` or ``conv3d``; asymmetric padding is added before."""
    if inputs[0].shape[0] == 0:
        return OpResult((nothing(layer, inputs[0], weights),))
    bias = weights[1] if layer.bias else None
    return OpResult((_convolve(inputs[0], weights[0], bias, layer, layer.groups),))


@OPERATIONS.register("partial_conv")
def partial_conv(layer: PartialConv, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """A dense convolution whose absent connections are zero: PyTorch has no partial one."""
    kernels, bias = weights
    shape = connection_shape(layer, inputs[0].shape[1])
    rows = torch.tensor([output * shape[1] + seen for output, seen in layer.pairs()], device=kernels.device)
    dense = kernels.new_zeros((shape[0] * shape[1], shape[2] * shape[3]))
    dense = dense.index_copy(0, rows, kernels.reshape(len(kernels), -1)).reshape(shape)
    return OpResult((_convolve(inputs[0], dense, bias, layer),))
