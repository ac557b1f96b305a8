"""Layers of quantised values: integers that floats hold; narrow types compute in float32."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.conv import KERNEL_LAST, conv
from cnnbench_tensorflow.ops.linear import matmul
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def _wide(x: Any) -> Any:
    return tf.cast(x, tf.float32) if x.dtype in (tf.bfloat16, tf.float16) else x


def _operands(layer: Quantize | Dequantize, inputs: Values) -> tuple[Any, Any, Any]:
    """x, and scale and zero point so that they broadcast to it."""
    x, *others = map(_wide, inputs)
    along = [-1 if axis == layer.axis else 1 for axis in range(x.shape.rank)]
    scale, *zero_point = (tf.reshape(item, () if item.shape.num_elements() == 1 else along) for item in others)
    return x, scale, zero_point[0] if zero_point else 0


@OPERATIONS.register("quantize")
def quantize(layer: Quantize, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.round``, which takes halves to the even neighbour, and ``tf.clip_by_value``."""
    x, scale, zero_point = _operands(layer, inputs)
    y = tf.clip_by_value(tf.round(x / scale) + zero_point, float(layer.minimum), float(layer.maximum))
    return OpResult((tf.cast(y, inputs[0].dtype),))


@OPERATIONS.register("dequantize")
def dequantize(layer: Dequantize, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """(x - zero_point) scale."""
    x, scale, zero_point = _operands(layer, inputs)
    return OpResult((tf.cast((x - zero_point) * scale, inputs[0].dtype),))


@OPERATIONS.register("integer_conv", weight_layout=KERNEL_LAST)
def integer_conv(layer: IntegerConv, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The convolution of the integers as floats."""
    return conv(layer, inputs, weights, state, call)


@OPERATIONS.register("integer_matmul")
def integer_matmul(layer: IntegerMatMul, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The product of the integers as floats."""
    return matmul(layer, inputs, weights, state, call)
