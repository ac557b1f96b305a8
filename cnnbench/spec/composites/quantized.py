"""Quantisation to the range that the values themselves have."""

from __future__ import annotations

from dataclasses import dataclass

from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise
from cnnbench.spec.layers.base import Example
from cnnbench.spec.layers.merge import Subtract
from cnnbench.spec.layers.quantized import Quantize
from cnnbench.spec.layers.reduction import Reduce

SMALLEST = 2.0**-126  # a scale for values that are all zero; float32's smallest normal number


@dataclass(frozen=True, kw_only=True)
class DynamicQuantize(Composite, kind="dynamic_quantize"):
    """Numbers as integers from 0 to 255 whose range is that of the numbers, with 0 in it.

    low = min(0, min x), high = max(0, max x), scale = (high - low) / 255, zero_point = round(-low / scale), kept within
    0 to 255, and y = ``Quantize`` of x. Minimum and maximum are those of all values, of every image in the batch.

    Shapes:
        any -> the same (y), () (the scale), () (the zero point).

    Source: ONNX's DynamicQuantizeLinear. Values that are all zero, for which it divides by zero, become zeros here.
    """

    example = Example((1, 4, 6, 6))
    differentiable = False

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        (x,) = inputs
        every = tuple(range(len(x.shape)))
        low = builder.add("minimum", Reduce(function="min", axes=every, keepdims=False), x)
        low = builder.add("low", Clip(maximum=0.0), low)
        high = builder.add("maximum", Reduce(function="max", axes=every, keepdims=False), x)
        high = builder.add("high", Clip(minimum=0.0), high)
        width = builder.add("width", Affine(scale=1 / 255), builder.add("range", Subtract(), high, low))
        scale = builder.add("scale", Clip(minimum=SMALLEST), width)
        negative = builder.add("negative", Elementwise(function="negate"), low)
        zero_point = builder.add("zero_point", Quantize(minimum=0, maximum=255), negative, scale)
        y = builder.add("quantized", Quantize(minimum=0, maximum=255), x, scale, zero_point)
        return y, scale, zero_point
