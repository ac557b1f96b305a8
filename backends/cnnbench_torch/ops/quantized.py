"""Layers of quantised values: integers that floats hold; narrow types compute in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize
from cnnbench_torch.ops.conv import CORRELATED, conv
from cnnbench_torch.ops.linear import matmul
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _operands(layer: Quantize | Dequantize, inputs: Tensors) -> tuple[Tensor, Tensor, Tensor | int]:
    """x, and scale and zero point so that they broadcast to it."""
    x, *others = map(_wide, inputs)
    along = [-1 if axis == layer.axis else 1 for axis in range(x.dim())]
    scale, *zero_point = (item.reshape(()) if item.numel() == 1 else item.reshape(along) for item in others)
    return x, scale, zero_point[0] if zero_point else 0


@OPERATIONS.register("quantize")
def quantize(layer: Quantize, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``round``, which takes halves to the even neighbour, and ``clamp``."""
    x, scale, zero_point = _operands(layer, inputs)
    y = (torch.round(x / scale) + zero_point).clamp(layer.minimum, layer.maximum)
    return OpResult((y.to(inputs[0].dtype),))


@OPERATIONS.register("dequantize")
def dequantize(layer: Dequantize, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """(x - zero_point) scale."""
    x, scale, zero_point = _operands(layer, inputs)
    return OpResult((((x - zero_point) * scale).to(inputs[0].dtype),))


@OPERATIONS.register("integer_conv", weight_layout=CORRELATED)
def integer_conv(layer: IntegerConv, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The convolution of the integers as floats."""
    return conv(layer, inputs, weights, state, call)


@OPERATIONS.register("integer_matmul")
def integer_matmul(layer: IntegerMatMul, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The product of the integers as floats."""
    return matmul(layer, inputs, weights, state, call)
