"""Quantised values: integers held in floats, how they come from numbers and become numbers, and products of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.arrays import Initializer, Shape, WeightSpec
from cnnbench.spec.layers.axes import resolve_axis
from cnnbench.spec.layers.base import Example, Layer, Shapes
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.layers.linear import MatMul

LARGEST = 2**24  # up to this size float32 holds every integer


def _resolved_axis(axis: int, x: Shape, others: Shapes) -> int:
    """The axis, counted from the front, if every scale and zero point is one number or one for each of its positions.

    Args:
        axis: As the layer has it.
        x: The values' shape.
        others: Those of the scale and of the zero point.
    """
    if all(shape in ((), (1,)) for shape in others):
        return axis
    found = resolve_axis(axis, len(x))
    wrong = [shape for shape in others if shape not in ((), (1,), (x[found],))]
    if wrong:
        raise SpecError(
            "a scale or zero point does not fit the values",
            received=f"{wrong[0]} along axis {axis} of {x}",
            expected=f"one number, or {x[found]}",
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Quantize(Layer, kind="quantize"):
    """min(max(round(x / scale) + zero_point, minimum), maximum): numbers as small integers.

    Args:
        minimum, maximum: The range of the integers: -128 to 127 of int8, 0 to 255 of uint8. Where a number lies beyond
            it, the nearer end stands for it.
        axis: Along which there is a scale, or a zero point, for each position; without meaning where there is one.

    Halves are rounded to the even neighbour. Integers are held in the float type of the program, exactly: up to 2^24 in
    float32, and up to 256 in bfloat16; the quotient is taken in float32 where that type is narrower. There is no
    gradient. (A straight-through estimator is another function, and no part of this one.)

    Shapes:
        x (N, C, ...), scale () or (1,) or (n,), and the zero point, integers of one of these shapes, or none for 0 ->
        as x. n is the size of ``axis``.

    Source: ONNX's QuantizeLinear; Jacob et al. (2017), arXiv:1712.05877, equation 1.
    """

    minimum: int = -128
    maximum: int = 127
    axis: int = 1

    example = Example((1, 4, 6, 6), (4,))
    num_inputs = (2, 3)
    layout_rule = "canonical"
    differentiable = False

    def resolve(self, inputs: Shapes) -> Self:
        if not -LARGEST <= self.minimum < self.maximum <= LARGEST:
            raise SpecError(
                "the range of integers is not valid",
                received=f"{self.minimum} to {self.maximum}",
                expected=f"two integers, the smaller first, of at most {LARGEST} in size",
            )
        return replace(self, axis=_resolved_axis(self.axis, inputs[0], inputs[1:]))


@dataclass(frozen=True, kw_only=True)
class Dequantize(Layer, kind="dequantize"):
    """(x - zero_point) scale: the numbers that integers stand for.

    Args:
        axis: As ``Quantize``.

    There is no gradient: it is read behind ``Quantize`` and products of integers, which have none. Shapes: as
    ``Quantize``. Source: ONNX's DequantizeLinear.
    """

    axis: int = 1

    example = Example((1, 4, 6, 6), (4,))
    num_inputs = (2, 3)
    layout_rule = "canonical"
    differentiable = False

    def resolve(self, inputs: Shapes) -> Self:
        return replace(self, axis=_resolved_axis(self.axis, inputs[0], inputs[1:]))


@dataclass(frozen=True, kw_only=True)
class IntegerConv(Conv, kind="integer_conv"):
    """``Conv`` of integers: its sums are exact where the sum of the products' sizes stays below 2^24 (in float32).

    Args:
        out_channels, kernel_size, stride, padding, dilation, groups, bias, flip_kernel: As ``Conv``.

    Input and weights are integers that floats hold, zero points taken off before: padding is the zero point then.
    Weights are not trained, and there is no gradient. Shapes, weights: as ``Conv``. Source: ONNX's ConvInteger.
    """

    differentiable = False

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        drawn = Initializer("integers", 127.0)
        specs = super().weights(inputs)
        return tuple(replace(spec, initializer=drawn, trainable=False, general=None) for spec in specs)


@dataclass(frozen=True, kw_only=True)
class IntegerMatMul(MatMul, kind="integer_matmul"):
    """``MatMul`` of integers: its sums are exact where the sum of the products' sizes stays below 2^24 (in float32).

    Args:
        transpose_a, transpose_b: As ``MatMul``.

    Both values are integers that floats hold, zero points taken off before. There is no gradient. Shapes: as
    ``MatMul``. Source: ONNX's MatMulInteger.
    """

    differentiable = False
