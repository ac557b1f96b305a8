"""Reference layers of quantised values: integers that floats hold, without gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize
from cnnbench_numpy.ops.conv import conv
from cnnbench_numpy.ops.linear import matmul
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


def _along(layer: Quantize | Dequantize, x: Array, numbers: Array) -> Array:
    """One number, or one for each position of the layer's axis, so that it broadcasts to ``x``."""
    if numbers.size == 1:
        return numbers.reshape(())
    shape = [1] * x.ndim
    shape[layer.axis] = -1
    return numbers.reshape(shape)


def _operands(layer: Quantize | Dequantize, inputs: Arrays) -> tuple[Array, Array, Any]:
    x, scale, *zero_point = inputs
    return x, _along(layer, x, scale), _along(layer, x, zero_point[0]) if zero_point else 0


@REFERENCE.register("quantize")
def quantize(layer: Quantize, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """min(max(round(x / scale) + zero_point, minimum), maximum); ``rint`` takes halves to the even neighbour."""
    x, scale, zero_point = _operands(layer, inputs)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return OpResult((np.clip(np.rint(x / scale) + zero_point, layer.minimum, layer.maximum).astype(x.dtype),))


@REFERENCE.register("dequantize")
def dequantize(layer: Dequantize, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """(x - zero_point) scale."""
    x, scale, zero_point = _operands(layer, inputs)
    return OpResult((((x - zero_point) * scale).astype(x.dtype),))


@REFERENCE.register("integer_conv")
def integer_conv(layer: IntegerConv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The convolution of the integers as floats; images that lie channels-last are turned for it."""
    (x,) = inputs
    if not call.channels_last:
        return OpResult(conv(layer, inputs, weights, state, call).outputs)
    turned = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    (y,) = conv(layer, (turned,), weights, state, call).outputs
    return OpResult((np.moveaxis(y, 1, -1),))


@REFERENCE.register("integer_matmul")
def integer_matmul(layer: IntegerMatMul, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The product of the integers as floats."""
    return OpResult(matmul(layer, inputs, weights, state, call).outputs)
