"""Layers of quantised values: integers that floats hold; narrow types compute in float32."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize
from cnnbench_jax.ops.conv import KERNEL_LAYOUT, conv
from cnnbench_jax.ops.linear import matmul
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def _wide(x: Array) -> Array:
    return x.astype(jnp.float32) if x.dtype in (jnp.bfloat16, jnp.float16) else x


def _operands(layer: Quantize | Dequantize, inputs: Arrays) -> tuple[Array, Array, Array | int]:
    """x, and scale and zero point so that they broadcast to it."""
    x, *others = map(_wide, inputs)
    along = [-1 if axis == layer.axis else 1 for axis in range(x.ndim)]
    scale, *zero_point = (item.reshape(()) if item.size == 1 else item.reshape(along) for item in others)
    return x, scale, zero_point[0] if zero_point else 0


@OPERATIONS.register("quantize")
def quantize(layer: Quantize, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.round``, which takes halves to the even neighbour, and ``jnp.clip``."""
    x, scale, zero_point = _operands(layer, inputs)
    y = jnp.clip(jnp.round(x / scale) + zero_point, layer.minimum, layer.maximum)
    return OpResult((y.astype(inputs[0].dtype),))


@OPERATIONS.register("dequantize")
def dequantize(layer: Dequantize, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """(x - zero_point) scale."""
    x, scale, zero_point = _operands(layer, inputs)
    return OpResult((((x - zero_point) * scale).astype(inputs[0].dtype),))


@OPERATIONS.register("integer_conv", weight_layout=KERNEL_LAYOUT)
def integer_conv(layer: IntegerConv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The convolution of the integers as floats."""
    return conv(layer, inputs, weights, state, call)


@OPERATIONS.register("integer_matmul")
def integer_matmul(layer: IntegerMatMul, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The product of the integers as floats."""
    return matmul(layer, inputs, weights, state, call)
