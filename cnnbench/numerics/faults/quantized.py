"""Faults of quantised values: zero points, ties, ranges, axes, signs, accumulators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_operands, other_weights
from cnnbench.numerics.faults.engine.drawn import Draw, Drawn, integers, on
from cnnbench.spec.layers.arithmetic import Clip
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize

_MAP = (4, 4, 6)  # as many rows as channels, so that an axis can be taken for the other


def _between(low: float, high: float) -> Draw:
    return lambda generator, shape: generator.uniform(low, high, shape)


def _sixteenths(generator: Any, shape: tuple[int, ...]) -> Any:
    return generator.integers(-40, 41, shape) / 16


def _eighths(generator: Any, shape: tuple[int, ...]) -> Any:
    return np.full(shape, 0.125)


def _floats(draw: Draw) -> Draw:
    return lambda generator, shape: draw(generator, shape).astype(np.float32)


_SCALES = Drawn((4,), _between(0.02, 0.05), batched=False)
_ZEROS = Drawn((4,), _floats(integers(20)), batched=False)
_NUMBERS = Drawn(_MAP, _between(-8.0, 8.0))
_LEVELS = _floats(integers(256))
_INTEGERS = Drawn(_MAP, _LEVELS)


def _without_zero_point(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0], inputs[1], inputs[2] * 0), weights, state, call


def _ties_outwards(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    """A little larger, so that what was a tie lies on its outer side."""
    return (inputs[0] * (1 + 2.0**-10), *inputs[1:]), weights, state, call


def _zero_point_added(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0], inputs[1], -inputs[2]), weights, state, call


def _saturating(right: Operation, table: Operations) -> Operation:
    """Sums that stay within 16 bits."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        limits = Clip(minimum=-32768.0, maximum=32767.0)
        return OpResult(table["clip"].forward(limits, result.outputs, (), (), call).outputs)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "quantize.zero_point_dropped",
        "quantize",
        "the zero point left out, as if the range were symmetric",
        on(Quantize(minimum=0, maximum=255), _NUMBERS, _SCALES, _ZEROS),
        operation=other_operands(_without_zero_point),
    ),
    Fault(
        "quantize.half_away",
        "quantize",
        "halves rounded away from zero (C's round) where they go to the even neighbour (ONNX, PyTorch)",
        on(Quantize(), Drawn(_MAP, _sixteenths), Drawn((1,), _eighths, batched=False)),
        operation=other_operands(_ties_outwards),
    ),
    Fault(
        "quantize.not_saturated",
        "quantize",
        "values beyond the range kept as they are: the limits left out",
        on(Quantize(), _NUMBERS, _SCALES, _ZEROS),
        operation=other_layer(lambda layer: replace(layer, minimum=-(2**20), maximum=2**20)),
    ),
    Fault(
        "quantize.axis",
        "quantize",
        "the scales of channels laid along rows",
        on(Quantize(), _NUMBERS, _SCALES, _ZEROS),
        operation=other_layer(lambda layer: replace(layer, axis=2)),
    ),
    Fault(
        "dequantize.zero_point_added",
        "dequantize",
        "the zero point added and not taken off",
        on(Dequantize(), _INTEGERS, _SCALES, _ZEROS),
        operation=other_operands(_zero_point_added),
    ),
    Fault(
        "dequantize.axis",
        "dequantize",
        "the scales of channels laid along rows",
        on(Dequantize(), _INTEGERS, _SCALES, _ZEROS),
        operation=other_layer(lambda layer: replace(layer, axis=2)),
    ),
    Fault(
        "integer_conv.unsigned",
        "integer_conv",
        "int8 weights read as uint8",
        on(IntegerConv(out_channels=5, kernel_size=3, bias=False), _INTEGERS),
        operation=other_weights(lambda layer, name, array: np.where(array < 0, array + 256, array)),
    ),
    Fault(
        "integer_conv.sums_of_16_bits",
        "integer_conv",
        "sums that saturate at 16 bits (vpmaddubsw on processors without VNNI)",
        on(IntegerConv(out_channels=5, kernel_size=3, bias=False), _INTEGERS),
        operation=_saturating,
    ),
    Fault(
        "integer_matmul.sums_of_16_bits",
        "integer_matmul",
        "sums that saturate at 16 bits (vpmaddubsw on processors without VNNI)",
        on(IntegerMatMul(), Drawn((4, 7), _LEVELS), Drawn((7, 5), _LEVELS, batched=False)),
        operation=_saturating,
    ),
)
