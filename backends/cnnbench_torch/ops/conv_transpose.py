"""Transposed convolutions on ``torch.nn.functional``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench_torch.ops.registry import OPERATIONS
from cnnbench_torch.ops.windows import nothing, pad_spatial

Tensors = tuple[Tensor, ...]
_CONVOLUTIONS = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


def _native_output_padding(layer: ConvTranspose) -> tuple[int, ...] | None:
    """``output_padding`` as PyTorch takes it where it crops ``begin`` on both sides; None where it cannot."""
    window = layer.taps()
    extra = tuple(begin - end for begin, end in layer.borders())
    limits = (max(s, d) for s, d in zip(window.stride, window.dilation, strict=True))
    return extra if all(0 <= more < limit for more, limit in zip(extra, limits, strict=True)) else None


@OPERATIONS.register("conv_transpose")
def conv_transpose(layer: ConvTranspose, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``conv_transposeNd``; what its padding and output_padding cannot express is cropped from the full output.

    In float32 where the host's float16 would round every tap's products and their sums (``docs/framework-defects.md``).
    """
    if inputs[0].shape[0] == 0:
        return OpResult((nothing(layer, inputs[0], weights),))
    if inputs[0].dtype == torch.float16 and inputs[0].device.type == "cpu":
        return OpResult((_transposed(layer, *(array.float() for array in (inputs[0], *weights))).half(),))
    return OpResult((_transposed(layer, inputs[0], *weights),))


def _transposed(layer: ConvTranspose, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    window = layer.taps()
    function = _CONVOLUTIONS[x.dim() - 3]
    extra = _native_output_padding(layer)
    if extra is not None:
        padding = tuple(begin for begin, _ in layer.borders())
        return function(x, weight, bias, window.stride, padding, extra, layer.groups, window.dilation)
    full = function(x, weight, None, window.stride, 0, 0, layer.groups, window.dilation)
    y = pad_spatial(full, [(-begin, -end) for begin, end in layer.borders()])
    return y if bias is None else y + bias.reshape(-1, *(1,) * (y.dim() - 2))
