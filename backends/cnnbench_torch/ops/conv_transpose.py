"""Transposed convolutions on ``torch.nn.functional``."""

from __future__ import annotations

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
    """``conv_transposeNd``; what its padding and output_padding cannot express is cropped from the full output."""
    x, weight, window = inputs[0], weights[0], layer.taps()
    bias = weights[1] if layer.bias else None
    if x.shape[0] == 0:
        return OpResult((nothing(layer, x, weights),))
    function = _CONVOLUTIONS[x.dim() - 3]
    extra = _native_output_padding(layer)
    if extra is not None:
        padding = tuple(begin for begin, _ in layer.borders())
        y = function(x, weight, bias, window.stride, padding, extra, layer.groups, window.dilation)
        return OpResult((y,))
    full = function(x, weight, None, window.stride, 0, 0, layer.groups, window.dilation)
    y = pad_spatial(full, [(-begin, -end) for begin, end in layer.borders()])
    return OpResult((y if bias is None else y + bias.reshape(-1, *(1,) * (y.dim() - 2)),))
