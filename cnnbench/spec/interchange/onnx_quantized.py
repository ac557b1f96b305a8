"""Importers of quantised operators: their integers are held in floats, and their sums are exact."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from cnnbench.spec.composites.quantized import DynamicQuantize
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.interchange.onnx_windows import windows
from cnnbench.spec.layers.arithmetic import Affine, Parameter
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize

_INTEGER = re.compile(r"(u?)int(2|4|8|16)")


@importer("QuantizeLinear")
def quantize_linear(node: OnnxNode) -> Value:
    """QuantizeLinear to integers of up to 16 bits, with one scale or one for each position of an axis."""
    _check_blocks(node)
    zero_point = node.static(2, "the zero point") if node.knowable(2) else None
    low, high = _range(node, zero_point)
    x, scale = node.value(0), node.number(1)
    extra = _zero_points(node, 2, zero_point)
    return node.add(Quantize(minimum=low, maximum=high, axis=node.attribute("axis", 1)), x, scale, *extra)


@importer("DequantizeLinear")
def dequantize_linear(node: OnnxNode) -> Value:
    """DequantizeLinear with one scale or one for each position of an axis."""
    _check_blocks(node)
    zero_point = node.static(2, "the zero point") if node.knowable(2) else None
    x, scale = node.number(0), node.number(1)
    return node.add(Dequantize(axis=node.attribute("axis", 1)), x, scale, *_zero_points(node, 2, zero_point))


@importer("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: OnnxNode) -> tuple[Value, ...]:
    """DynamicQuantizeLinear: y, its scale and its zero point."""
    return node.add_all(DynamicQuantize(), node.value(0))


@importer("ConvInteger")
def conv_integer(node: OnnxNode) -> Value:
    """ConvInteger: zero points are taken off before, so that padding is zero."""
    x = _centred(node, node.number(0), 2, 1, "x")
    return _convolution(node, x, _centred_weight(node, 1, 3, 0))


@importer("QLinearConv")
def q_linear_conv(node: OnnxNode) -> Value:
    """QLinearConv: a convolution of integers, made numbers by both scales, and integers again."""
    x = _centred(node, node.number(0), 2, 1, "x")
    bias = node.static(8, "the bias B") if node.has(8) else None
    sums = _convolution(node, x, _centred_weight(node, 3, 5, 0), bias, part="sums")
    numbers = _scaled(node, sums, _scale(node, 1) * _scale(node, 4), 1, "numbers")
    return _requantized(node, numbers, 6)


@importer("MatMulInteger")
def matmul_integer(node: OnnxNode) -> Value:
    """MatMulInteger: zero points are taken off before."""
    a = _centred(node, node.number(0), 2, -2, "a")
    return node.add(IntegerMatMul(), a, _centred(node, node.number(1), 3, -1, "b"))


@importer("QLinearMatMul")
def q_linear_matmul(node: OnnxNode) -> Value:
    """QLinearMatMul: a product of integers, made numbers by both scales, and integers again."""
    a = _centred(node, node.number(0), 2, -2, "a")
    sums = node.add(IntegerMatMul(), a, _centred(node, node.number(3), 5, -1, "b"), part="sums")
    first, second = _scale(node, 1), _scale(node, 4)
    if first.size == 1 or second.size == 1:
        numbers = _scaled(node, sums, first * second, -1 if first.size == 1 else -2, "numbers")
    else:
        rows = _scaled(node, sums, first, -2, "rows")
        numbers = _scaled(node, rows, second, -1, "numbers")
    return _requantized(node, numbers, 6)


def _check_blocks(node: OnnxNode) -> None:
    """Raises SpecError where blocks of an axis have scales of their own."""
    if node.attribute("block_size", 0):
        raise node.reject(
            "blocks with a scale of their own are not imported where values are computed",
            received=f"block_size={node.attribute('block_size')}",
            expected="one scale, or one for each position of an axis",
        )


def _range(node: OnnxNode, zero_point: Array | None) -> tuple[int, int]:
    """The least and the largest integer: of the zero point's type, else of ``output_dtype``, else of uint8."""
    from onnx import helper

    stated = node.attribute("output_dtype", 0)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(stated)) if stated else np.dtype(np.uint8)
    name = dtype.name if zero_point is None else zero_point.dtype.name
    found = _INTEGER.fullmatch(name)
    if found is None:
        raise node.reject("a quantised type is not imported", received=name, expected="integers of 2 to 16 bits")
    bits = int(found[2])
    return (0, 2**bits - 1) if found[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _zero_points(node: OnnxNode, position: int, known: Array | None) -> Sequence[Value]:
    """The zero point as a value, or none where it is zero."""
    if not node.has(position) or (known is not None and not known.astype(np.float32).any()):
        return ()
    return (node.number(position),) if known is None else (_held(node, known, f"input{position}"),)


def _held(node: OnnxNode, array: Array, part: str) -> Value:
    """A value that holds what is not trained: a scale, or integers as floats."""
    numbers = array.astype(np.float32)
    layer = Parameter(shape=numbers.shape, trainable=False, distribution="constant", scale=1.0)
    return node.add(layer, part=part, arrays={"value": numbers})


def _centred(node: OnnxNode, x: Value, position: int, axis: int, part: str) -> Value:
    """``x`` less its zero point.

    Args:
        node: Where the layers belong.
        x: Integers in floats.
        position: The input that holds the zero point, if it is given.
        axis: Along which there is a zero point for each position, where there are several.
        part: What the layer is called.
    """
    if not node.has(position):
        return x
    if not node.knowable(position):
        one = _held(node, np.ones(()), f"{part}_one")
        return node.add(Dequantize(axis=axis), x, one, node.number(position), part=f"{part}_centred")
    zero_point = node.static(position, "the zero point")
    if not zero_point.any():
        return x
    if zero_point.size == 1:
        return node.add(Affine(shift=-float(zero_point.reshape(-1)[0])), x, part=f"{part}_centred")
    one, zero = _held(node, np.ones(()), f"{part}_one"), _held(node, zero_point.reshape(-1), f"{part}_zero_point")
    return node.add(Dequantize(axis=axis), x, one, zero, part=f"{part}_centred")


def _centred_weight(node: OnnxNode, position: int, zero_position: int, axis: int) -> Array:
    """The integers of a weight less their zero points, one or one for each position of ``axis``.

    Args:
        node: The node.
        position: The input that holds the weight.
        zero_position: The one that holds its zero point, if it is given.
        axis: Of the weight.
    """
    weight = node.static(position, "the weight").astype(np.int64)
    if not node.has(zero_position):
        return weight
    zero_point = node.static(zero_position, "the weight's zero point").astype(np.int64).reshape(-1)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return weight - zero_point.reshape(shape)


def _convolution(node: OnnxNode, x: Value, weight: Array, bias: Array | None = None, part: str = "") -> Value:
    """The convolution of integers.

    Args:
        node: Its attributes say how.
        x: Integers without a zero point.
        weight: As ``x``.
        bias: Integers that are added, or None.
        part: What the layer is called.
    """
    window = windows(node, tuple(weight.shape[2:]))
    layer = IntegerConv(
        out_channels=weight.shape[0],
        kernel_size=window.kernel_size,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=node.attribute("group", 1),
        bias=bias is not None,
    )
    return node.add(layer, x, part=part, arrays={"weight": weight} | ({} if bias is None else {"bias": bias}))


def _scale(node: OnnxNode, position: int) -> Array:
    return node.static(position, "a scale").astype(np.float64).reshape(-1)


def _scaled(node: OnnxNode, x: Value, scale: Array, axis: int, part: str) -> Value:
    """Integers times their scale.

    Args:
        node: Where the layers belong.
        x: The integers.
        scale: One number, or one for each position of ``axis``.
        axis: Of ``x``.
        part: What the layer is called.
    """
    return node.add(Dequantize(axis=axis), x, _held(node, scale, f"{part}_scale"), part=part)


def _requantized(node: OnnxNode, x: Value, position: int) -> Value:
    """Numbers as the operator's output: its scale is an input, and its zero point the next one."""
    zero_point = node.static(position + 1, "the output's zero point")
    low, high = _range(node, zero_point)
    scale = _held(node, _scale(node, position), "scale")
    extra = _zero_points(node, position + 1, zero_point)
    return node.add(Quantize(minimum=low, maximum=high, axis=-1), x, scale, *extra)
