"""Quantised values: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import EVEN, SQUARE, Draw, LayerCase
from cnnbench.spec.composites.quantized import DynamicQuantize
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize

ONE: Shape = ()
WHOLE = (True, False, False)  # only the values have a batch axis


def scales(generator: Any, shape: Shape) -> Any:
    """Around 0.02: values of a few deviations fill and leave the range of int8."""
    return generator.uniform(0.01, 0.03, shape)


def halves(generator: Any, shape: Shape) -> Any:
    """Multiples of 1/16, so that every second one is a tie for a scale of 1/8."""
    return generator.integers(-40, 41, shape) / 16


def eighth(generator: Any, shape: Shape) -> Any:
    """A scale by which every value is divided exactly."""
    import numpy as np

    return np.full(shape, 0.125)


def whole(low: int, high: int) -> Draw:
    """Integers in floats, both ends included."""

    def draw(generator: Any, shape: Shape) -> Any:
        return generator.integers(low, high + 1, shape).astype("float64")

    return draw


INT8 = whole(-128, 127)
UINT8 = whole(0, 255)
FAR = whole(-(2**16), 2**16)

CASES = {
    "quantize/int8": LayerCase(Quantize(), (*EVEN, ONE), draws=(None, scales), batched=WHOLE[:2], scale=1.5),
    "quantize/uint8": LayerCase(
        Quantize(minimum=0, maximum=255), (*EVEN, (1,), (1,)), draws=(None, scales, UINT8), batched=WHOLE, scale=1.5
    ),
    "quantize/channels": LayerCase(
        Quantize(), (*EVEN, (4,), (4,)), draws=(None, scales, whole(-20, 20)), batched=WHOLE, batch=3
    ),
    "quantize/last_axis": LayerCase(
        Quantize(minimum=0, maximum=255, axis=-1), (*EVEN, (10,), ONE), draws=(None, scales, UINT8), batched=WHOLE
    ),
    "quantize/ties": LayerCase(
        Quantize(), (*EVEN, ONE, ONE), draws=(halves, eighth, whole(-3, 3)), batched=WHOLE, batch=1
    ),
    "quantize/narrow_range": LayerCase(
        Quantize(minimum=-8, maximum=7), (*SQUARE, (3,)), draws=(None, scales), batched=WHOLE[:2], scale=0.1
    ),
    "dequantize/int8": LayerCase(Dequantize(), (*EVEN, ONE), draws=(INT8, scales), batched=WHOLE[:2]),
    "dequantize/channels": LayerCase(
        Dequantize(), (*EVEN, (4,), (4,)), draws=(UINT8, scales, UINT8), batched=WHOLE, batch=3
    ),
    "dequantize/rows": LayerCase(Dequantize(axis=2), (*EVEN, (8,), ONE), draws=(UINT8, scales, UINT8), batched=WHOLE),
    "dequantize/sums": LayerCase(Dequantize(), ((5,), (5,)), draws=(FAR, scales), batched=WHOLE[:2]),
    "dynamic_quantize/plain": LayerCase(DynamicQuantize(), EVEN),
    "dynamic_quantize/positive": LayerCase(DynamicQuantize(), EVEN, shift=9.0, batch=1),
    "integer_conv/int8": LayerCase(
        IntegerConv(out_channels=5, kernel_size=3, padding=((1, 0), (0, 2)), stride=(2, 1), bias=False),
        EVEN,
        draws=(whole(-255, 255),),
    ),
    "integer_conv/groups_and_bias": LayerCase(
        IntegerConv(out_channels=6, kernel_size=(3, 2), groups=2, dilation=(1, 2)), EVEN, draws=(UINT8,)
    ),
    "integer_conv/row": LayerCase(
        IntegerConv(out_channels=4, kernel_size=4, padding=2, bias=False), ((3, 10),), draws=(UINT8,)
    ),
    "integer_matmul/plain": LayerCase(
        IntegerMatMul(), ((4, 7), (7, 5)), draws=(whole(-255, 255), whole(-255, 255)), batched=(True, False)
    ),
    "integer_matmul/transposed": LayerCase(
        IntegerMatMul(transpose_b=True), ((3, 4, 7), (3, 5, 7)), draws=(UINT8, INT8)
    ),
    "integer_matmul/beyond": LayerCase(
        IntegerMatMul(), ((4, 300), (300, 5)), draws=(whole(200, 255), whole(200, 255)), batched=(True, False)
    ),
}
