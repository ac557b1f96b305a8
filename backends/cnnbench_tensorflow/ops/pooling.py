"""Pooling: max, average, global, adaptive, and plain subsampling."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, Subsample
from cnnbench.spec.layers.pooling import MinPool
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS
from cnnbench_tensorflow.ops.windows import (
    WindowGeometry,
    geometry,
    nothing,
    ones_around,
    output_sizes,
    pad_image,
    shifted_views,
)

Values = tuple[Any, ...]


DROPS_NAN = "TensorFlow 2.21's max pooling drops NaN, and gives -3.4e38 for windows of -inf"


for _kind in ("max_pool", "min_pool", "global_max_pool"):
    OPERATIONS.lacks(_kind, DROPS_NAN, special_values="always")


@OPERATIONS.register("max_pool")
def max_pool(layer: MaxPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The pooling op; shifted views where it lacks dilation or, in float64, a third axis."""
    if inputs[0].shape[0] == 0:
        return OpResult((nothing(layer, inputs[0]),))
    sizes = output_sizes(layer, inputs[0])
    window, x = geometry(layer, inputs[0], sizes)
    if window.dilated or (len(window.size) == 3 and x.dtype == tf.float64):
        padded = pad_image(x, window.covering(), -math.inf)
        # Of two equal values tf.maximum sends the gradient to its first operand: the first maximum of the window.
        y = reduce(tf.maximum, shifted_views(padded, window))
    else:
        padding = window.named_padding()
        if padding is None:
            x, padding = pad_image(x, window.covering(), -math.inf), "VALID"
        function = tf.nn.max_pool2d if len(window.size) == 2 else tf.nn.max_pool3d
        y = function(x, ones_around(window.kernel), ones_around(window.stride), padding)
    return OpResult((tf.squeeze(y, 1) if len(sizes) == 1 else y,))


@OPERATIONS.register("min_pool")
def min_pool(layer: MinPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Minus the maximum of -x: TensorFlow has none of its own."""
    (largest,) = max_pool(layer.maximum(), (-inputs[0],), weights, state, call).outputs
    return OpResult((-largest,))


@OPERATIONS.register("avg_pool")
def avg_pool(layer: AvgPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The pooling op where its own count of positions is the layer's; else the window's sum over that count."""
    if inputs[0].shape[0] == 0:
        return OpResult((nothing(layer, inputs[0]),))
    sizes = output_sizes(layer, inputs[0])
    window, x = geometry(layer, inputs[0], sizes)
    y = _counted_by_op(layer, x, window)
    if y is None:
        total = windowed_sum(wide(x), window)
        y = tf.cast(total / tf.constant(_counts(layer, window), total.dtype), x.dtype)
    return OpResult((tf.squeeze(y, 1) if len(sizes) == 1 else y,))


def windowed_sum(x: Any, window: WindowGeometry) -> Any:
    """The sum of each window of zero-padded ``x``."""
    return reduce(tf.add, shifted_views(pad_image(x, window.covering()), window))


def _counted_by_op(layer: AvgPool, x: Any, window: WindowGeometry) -> Any:
    """The average by TensorFlow's op, which never counts its own padding, or None where that is not the layer's."""
    if layer.divisor is not None or (len(window.size) == 3 and x.dtype == tf.float64):
        return None
    padding = window.named_padding()
    if padding != "VALID" and layer.count_include_pad:
        # Zeros that are part of the input count; positions beyond the declared padding must not.
        if any(needed[1] > declared[1] for needed, declared in zip(window.covering(), window.padding, strict=True)):
            return None
        x, padding = pad_image(x, window.covering()), "VALID"
    if padding is None:
        return None
    function = tf.nn.avg_pool2d if len(window.size) == 2 else tf.nn.avg_pool3d
    return function(x, ones_around(window.kernel), ones_around(window.stride), padding)


def _counts(layer: AvgPool, window: WindowGeometry) -> Any:
    """What each window's sum is divided by, of shape (1, *outputs, 1)."""
    import numpy as np

    if layer.divisor is not None:
        return np.full(ones_around((1,) * len(window.outputs)), float(layer.divisor))
    total = np.ones(())
    for axis, outputs in enumerate(window.outputs):
        begin, end = window.padding[axis] if layer.count_include_pad else (0, 0)
        first = np.arange(outputs) * window.stride[axis] - window.padding[axis][0]
        last = np.minimum(first + window.kernel[axis], window.size[axis] + end)
        total = np.multiply.outer(total, last - np.maximum(first, -begin))
    return total[None, ..., None]


@OPERATIONS.register("global_avg_pool")
def global_avg_pool(layer: GlobalAvgPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The mean over all spatial axes."""
    x = inputs[0]
    y = tf.reduce_mean(wide(x), axis=list(range(1, x.shape.rank - 1)), keepdims=layer.keep_spatial)
    return OpResult((tf.cast(y, x.dtype),))


@OPERATIONS.register("global_max_pool")
def global_max_pool(layer: GlobalMaxPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The maximum over all spatial axes, as one window: its gradient goes to the first maximum."""
    x = inputs[0]
    if x.shape[0] == 0:
        return OpResult((tf.reduce_sum(x, axis=list(range(1, x.shape.rank - 1)), keepdims=layer.keep_spatial),))
    batch, *spatial, channels = x.shape
    rows = tf.reshape(x, (batch, 1, math.prod(spatial), channels))
    y = tf.nn.max_pool2d(rows, (1, 1, math.prod(spatial), 1), 1, "VALID")
    shape = (batch, *(1,) * len(spatial), channels) if layer.keep_spatial else (batch, channels)
    return OpResult((tf.reshape(y, shape),))


@OPERATIONS.register("adaptive_avg_pool")
def adaptive_avg_pool(layer: AdaptiveAvgPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Sums along one axis after another, over the number of positions: windows of an axis may overlap and differ."""
    x = wide(inputs[0])
    counts = 1.0
    for axis, outputs in enumerate(layer.sizes(), start=1):
        size = x.shape[axis]
        edges = [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]
        parts = [
            tf.reduce_sum(x[(*(slice(None),) * axis, slice(begin, end))], axis=axis, keepdims=True)
            for begin, end in edges
        ]
        x = parts[0] if outputs == 1 else tf.concat(parts, axis)
        shape = [outputs if other == axis else 1 for other in range(x.shape.rank)]
        counts = counts * tf.constant([end - begin for begin, end in edges], x.dtype, shape)
    return OpResult((tf.cast(x / counts, inputs[0].dtype),))


@OPERATIONS.register("subsample")
def subsample(layer: Subsample, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A strided slice."""
    return OpResult((inputs[0][(slice(None), *(slice(None, None, s) for s in layer.strides()))],))
