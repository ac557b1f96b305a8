"""Faults of pooling: padding, window sizes, strides, divisors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    choose,
    other_gradient,
    other_layer,
    other_operands,
    other_outputs,
    reversed_field,
    swapped_padding,
)
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded, suspect_fault
from cnnbench.numerics.faults.engine.operands import FedOperands, fed, whole
from cnnbench.spec.layers import AvgPool, GlobalAvgPool, MaxPool, Pad
from cnnbench.spec.layers.pooling import MinPool

_IMAGE = SuspectNetwork((4, 8, 8))


def _zero_padding(right: Operation, table: Operations) -> Operation:
    """Zeros put around the input before the maximum is taken."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        around = Pad(padding=((0, 0), *layer.padding))
        padded = table["pad"].forward(around, inputs, (), (), call).outputs
        bare = replace(layer, padding=tuple((0, 0) for _ in layer.padding))
        return right.forward(bare, padded, weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


def _summed(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    shape = tuple(inputs[0].shape)
    channel = call.channel_axis(len(shape))
    return (outputs[0] * float(math.prod(n for axis, n in enumerate(shape) if axis not in (0, channel))),)


def _without_nan(
    layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> tuple[Arrays, Arrays, Arrays, Call]:
    (x,) = inputs
    return (choose(x == x, x, -math.inf),), weights, state, call


def _taps(layer: Any, call: Call) -> list[tuple[slice, ...]]:
    """What each position of the windows reads that lie side by side and cover the input."""
    rows, columns = ([slice(i, None, size) for i in range(size)] for size in layer.kernel_size)
    batch, channels = slice(None), slice(None)
    places = [(row, column) for row in rows for column in columns]
    if call.channels_last:
        return [(batch, *place, channels) for place in places]
    return [(batch, channels, *place) for place in places]


def _winners(layer: Any, x: Any, y: Any, call: Call) -> Any:
    """The sum of all elements that equal their window's maximum, less the one that the right op takes."""
    return sum(choose(x[tap] == y, x[tap], 0.0) for tap in _taps(layer, call)) - y


def _winners_dual(layer: Any, x: Any, y: Any, g: Any, call: Call) -> Any:
    found, taken = 0 * x, y != y
    for tap in _taps(layer, call):
        wins = x[tap] == y
        found[tap] = g * (wins & taken)
        taken = taken | wins
    return found


FAULTS = (
    Fault(
        "max_pool.zero_padding",
        "max_pool",
        "padding counted as zeros, which win over negative values (early Caffe and TensorFlow ports)",
        surrounded(MaxPool(kernel_size=3, stride=2, padding=1), SuspectNetwork((4, 8, 8), negative=True)),
        operation=_zero_padding,
    ),
    Fault(
        "max_pool.ceil_mode",
        "max_pool",
        "output size rounded up (Caffe) where rounding down was asked for: another shape",
        surrounded(MaxPool(kernel_size=3, stride=2), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, ceil_mode=not layer.ceil_mode)),
    ),
    Fault(
        "max_pool.swapped_padding",
        "max_pool",
        "the odd row of SAME padding at the beginning and not at the end",
        surrounded(MaxPool(kernel_size=3, stride=2, padding="same"), _IMAGE),
        operation=swapped_padding,
    ),
    Fault(
        "avg_pool.count_include_pad",
        "avg_pool",
        "padded positions left out of the divisor (TensorFlow) where they were to count (PyTorch)",
        surrounded(AvgPool(kernel_size=3, stride=2, padding=1), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, count_include_pad=not layer.count_include_pad)),
    ),
    Fault(
        "global_avg_pool.sum",
        "global_avg_pool",
        "the sum over positions for their mean",
        surrounded(GlobalAvgPool(), _IMAGE),
        operation=other_outputs(_summed),
    ),
    suspect_fault(
        "max_pool.swapped_stride",
        "strides of height and width exchanged",
        MaxPool(kernel_size=3, stride=(2, 3)),
        reversed_field("stride"),
        SuspectNetwork((4, 6, 6)),
    ),
    suspect_fault(
        "max_pool.swapped_dilation",
        "dilations of height and width exchanged",
        MaxPool(kernel_size=3, stride=3, dilation=(1, 2)),
        reversed_field("dilation"),
        _IMAGE,
    ),
    suspect_fault(
        "max_pool.same_upper_for_lower",
        "the odd row of SAME_LOWER padding at the end",
        MaxPool(kernel_size=2, stride=1, padding="same_lower"),
        swapped_padding,
        _IMAGE,
    ),
    suspect_fault(
        "avg_pool.swapped_padding_ends",
        "explicit padding before and after an axis exchanged",
        AvgPool(kernel_size=3, stride=1, padding=((0, 1), (0, 1))),
        swapped_padding,
        _IMAGE,
    ),
    suspect_fault(
        "avg_pool.swapped_stride",
        "strides of height and width exchanged",
        AvgPool(kernel_size=3, stride=(2, 3)),
        reversed_field("stride"),
        SuspectNetwork((4, 6, 6)),
    ),
    suspect_fault(
        "avg_pool.full_window_divisor",
        "a window that ceil_mode lets reach over the edge divided by its full size",
        AvgPool(kernel_size=3, stride=2, ceil_mode=True),
        other_layer(lambda layer: replace(layer, divisor=math.prod(layer.kernel_size))),
        _IMAGE,
    ),
    suspect_fault(
        "min_pool.zero_padding",
        "padding counted as zeros, which win over positive values",
        MinPool(kernel_size=2, stride=2, padding=1),
        _zero_padding,
        _IMAGE,
    ),
    suspect_fault(
        "min_pool.of_negatives",
        "the sign changed before the maximum and not after it",
        MinPool(kernel_size=2),
        other_outputs(lambda layer, inputs, outputs, call: (-outputs[0],)),
        _IMAGE,
    ),
    Fault(
        "max_pool.gradient_to_all_ties",
        "max_pool",
        "the whole gradient of a window to each element that is its maximum, which makes more of it",
        fed(MaxPool(kernel_size=2), FedOperands(((4, 8, 8),), whole)),
        check="gradient",
        operation=other_gradient(_winners, _winners_dual),
    ),
    Fault(
        "max_pool.drops_nan",
        "max_pool",
        "NaN counts as the smallest value (TensorFlow's max pooling)",
        surrounded(MaxPool(kernel_size=2), _IMAGE),
        check="special",
        operation=other_operands(_without_nan),
    ),
)
