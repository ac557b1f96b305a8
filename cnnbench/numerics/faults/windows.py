"""Faults of sliding windows: padding, strides and dilations of convolutions and poolings put at the wrong place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.base import Arrays, Fault, other_layer, other_outputs, other_weights
from cnnbench.numerics.faults.configurations import Surroundings, surrounded
from cnnbench.numerics.faults.layers import zero_padding
from cnnbench.spec.layers import AvgPool, Conv, Layer, MaxPool
from cnnbench.spec.layers.conv import DepthwiseSeparableConv
from cnnbench.spec.layers.pooling import AdaptiveMaxPool, MinPool
from cnnbench.spec.layers.power_pooling import LpPool

_IMAGE = Surroundings((4, 8, 8))


def _swapped_ends(layer: Any) -> Any:
    return replace(layer, padding=tuple((end, begin) for begin, end in layer.padding))


def _reversed(field: str) -> Callable[[Any], Any]:
    return lambda layer: replace(layer, **{field: tuple(reversed(getattr(layer, field)))})


def _dilation_as_stride(layer: Conv) -> Conv:
    """Taps one apart and outputs a dilation apart; padding at the end makes the shape the same."""
    return replace(layer, stride=layer.dilation, dilation=(1, 1), padding=((0, 1), (0, 1)))


def _power_mean(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0] * math.prod(layer.kernel_size) ** (-1 / layer.p),)


def _even_windows(right: Operation, table: Operations) -> Operation:
    """Max pooling by one window size and stride: stride n // out, window n - (out - 1) stride."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        rank = len(inputs[0].shape)
        sizes = [int(inputs[0].shape[call.axis(axis, rank)]) for axis in range(2, rank)]
        strides = tuple(size // out for size, out in zip(sizes, layer.output_size, strict=True))
        kernel = tuple(n - (out - 1) * s for n, out, s in zip(sizes, layer.output_size, strides, strict=True))
        pool = MaxPool(kernel_size=kernel, stride=strides, padding=((0, 0),) * len(sizes), dilation=(1,) * len(sizes))
        return table["max_pool"].forward(pool, inputs, weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


def _mean(right: Operation, table: Operations) -> Operation:
    return Operation(table["adaptive_avg_pool"].forward, table["adaptive_avg_pool"].backward, right.weight_layout)


def _depthwise_flipped(layer: Conv, name: str, array: Any) -> Any:
    return np.flip(array, (2, 3)).copy() if name == "weight" and layer.groups > 1 else array


def _fault(name: str, description: str, layer: Layer, operation: Any, around: Surroundings = _IMAGE) -> Fault:
    return Fault(name, name.partition(".")[0], description, surrounded(layer, around), operation=operation)


FAULTS = (
    _fault(
        "conv.true_convolution",
        "cross-correlation where the flipped kernel of true convolution was asked for",
        Conv(out_channels=4, kernel_size=3, padding=1, flip_kernel=True),
        other_weights(lambda layer, name, array: layer.correlated(array) if name == "weight" else array),
    ),
    _fault(
        "conv.dilation_as_stride",
        "a dilation (atrous rate) used as a stride",
        Conv(out_channels=4, kernel_size=3, dilation=2),
        other_layer(_dilation_as_stride),
    ),
    _fault(
        "conv.swapped_padding_ends",
        "explicit padding before and after an axis exchanged",
        Conv(out_channels=4, kernel_size=3, padding=((0, 1), (0, 1))),
        other_layer(_swapped_ends),
    ),
    _fault(
        "conv.same_upper_for_lower",
        "the odd row of SAME_LOWER padding at the end",
        Conv(out_channels=4, kernel_size=2, padding="same_lower"),
        other_layer(_swapped_ends),
    ),
    _fault(
        "max_pool.swapped_stride",
        "strides of height and width exchanged",
        MaxPool(kernel_size=3, stride=(2, 3)),
        other_layer(_reversed("stride")),
        Surroundings((4, 6, 6)),
    ),
    _fault(
        "max_pool.swapped_dilation",
        "dilations of height and width exchanged",
        MaxPool(kernel_size=3, stride=3, dilation=(1, 2)),
        other_layer(_reversed("dilation")),
    ),
    _fault(
        "max_pool.same_upper_for_lower",
        "the odd row of SAME_LOWER padding at the end",
        MaxPool(kernel_size=2, stride=1, padding="same_lower"),
        other_layer(_swapped_ends),
    ),
    _fault(
        "avg_pool.swapped_padding_ends",
        "explicit padding before and after an axis exchanged",
        AvgPool(kernel_size=3, stride=1, padding=((0, 1), (0, 1))),
        other_layer(_swapped_ends),
    ),
    _fault(
        "avg_pool.swapped_stride",
        "strides of height and width exchanged",
        AvgPool(kernel_size=3, stride=(2, 3)),
        other_layer(_reversed("stride")),
        Surroundings((4, 6, 6)),
    ),
    _fault(
        "avg_pool.full_window_divisor",
        "a window that ceil_mode lets reach over the edge divided by its full size",
        AvgPool(kernel_size=3, stride=2, ceil_mode=True),
        other_layer(lambda layer: replace(layer, divisor=math.prod(layer.kernel_size))),
    ),
    _fault(
        "min_pool.zero_padding",
        "padding counted as zeros, which win over positive values",
        MinPool(kernel_size=2, stride=2, padding=1),
        zero_padding,
    ),
    _fault(
        "min_pool.of_negatives",
        "the sign changed before the maximum and not after it",
        MinPool(kernel_size=2),
        other_outputs(lambda layer, inputs, outputs, call: (-outputs[0],)),
    ),
    _fault(
        "lp_pool.mean_for_sum",
        "the p-norm of a mean and not of a sum",
        LpPool(kernel_size=2),
        other_outputs(_power_mean),
    ),
    _fault(
        "lp_pool.rescaled_partial_window",
        "a window that ceil_mode lets reach over the edge scaled up (PyTorch) where its sum was asked for (ONNX)",
        LpPool(kernel_size=3, stride=2, ceil_mode=True),
        other_layer(lambda layer: replace(layer, rescale_partial=True)),
    ),
    _fault(
        "lp_pool.without_magnitude",
        "odd powers of negative values taken with their sign (PyTorch) where magnitudes were asked for (ONNX)",
        LpPool(kernel_size=2, p=3.0),
        other_layer(lambda layer: replace(layer, absolute=False)),
    ),
    _fault(
        "adaptive_max_pool.even_windows",
        "windows of one size and stride where the output size does not divide the input's (exporters do so)",
        AdaptiveMaxPool(output_size=3),
        _even_windows,
    ),
    _fault("adaptive_max_pool.mean", "the mean for the maximum", AdaptiveMaxPool(output_size=3), _mean),
    Fault(
        "depthwise_separable_conv.kernel_flip",
        "conv",
        "true convolution in the depthwise part",
        surrounded(DepthwiseSeparableConv(out_channels=5, kernel_size=3, padding=1), _IMAGE),
        node="suspect.depthwise",
        operation=other_weights(_depthwise_flipped),
    ),
)
