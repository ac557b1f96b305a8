"""Pooling: unrolled windows on the host, ``reduce_window`` elsewhere."""

from __future__ import annotations

import math
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.pooling import (
    AdaptiveAvgPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    MinPool,
    Subsample,
    WindowPool,
)
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_jax.ops.registry import OPERATIONS
from cnnbench_jax.ops.windows import WindowTaps, cropped, full_padding, pad_spatial, spatial_axes, unrolls

Arrays = tuple[Array, ...]


def window_sizes(layer: WindowPool, x: Array, call: Call) -> tuple[Shape, Shape]:
    """The spatial sizes of the input and of the output.

    Args:
        layer: Resolved.
        x: Of rank 3 and more.
        call: With the layout of ``x``.
    """
    spatial = tuple(x.shape[axis] for axis in spatial_axes(call, x.ndim))
    return spatial, layer.output_shapes(((1, 1, *spatial),))[0][2:]


def _first_maximum(best: Array, other: Array) -> Array:
    """The larger of two, the first where they are equal; NaN wins and stays. Its gradient goes to that one alone."""
    return jnp.where((other > best) | jnp.isnan(other), other, best)


@OPERATIONS.register("max_pool")
def max_pool(layer: MaxPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Maxima of shifted slices on the host and wherever the window is dilated, else ``reduce_window``.

    ``reduce_window`` has no gradient for dilated windows (JAX 0.10).
    """
    x, window = inputs[0], layer.window()
    spatial, sizes = window_sizes(layer, x, call)
    padding = full_padding(window, require_pairs(layer.padding), spatial, sizes)
    if unrolls(window) or any(d > 1 for d in window.dilation):
        best: Array | None = None
        for _, values in WindowTaps(pad_spatial(x, call, padding, -math.inf), call, window, sizes):
            best = values if best is None else _first_maximum(best, values)
        assert best is not None  # a window has at least one tap
        return OpResult((best,))
    x, padding = cropped(x, call, padding)
    # The start must be a literal: an array has no gradient here (JAX 0.10).
    y = lax.reduce_window(
        x,
        -np.inf,
        lax.max,
        call.per_axis((1, 1, *window.kernel_size)),
        call.per_axis((1, 1, *window.stride)),
        call.per_axis(((0, 0), (0, 0), *padding)),
    )
    return OpResult((y,))


@OPERATIONS.register("min_pool")
def min_pool(layer: MinPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Minus the maximum of -x: the windows of ``max_pool`` in all its forms."""
    (largest,) = max_pool(layer.maximum(), (-inputs[0],), weights, state, call).outputs
    return OpResult((-largest,))


@OPERATIONS.register("avg_pool")
def avg_pool(layer: AvgPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Sums of windows, in float32 where the type is narrower, over their divisors."""
    x = inputs[0]
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    total = windowed_sum(wide, layer, call)
    spatial, sizes = window_sizes(layer, x, call)
    divisors = _divisors(layer, spatial, sizes, call)
    return OpResult(((total / divisors.astype(wide.dtype)).astype(x.dtype),))


def windowed_sum(x: Array, layer: WindowPool, call: Call) -> Array:
    """The sum of each window of zero-padded ``x``.

    Args:
        x: (N, C, *spatial) in the layout of ``call``.
        layer: Resolved; its window slides over ``x``.
        call: With the layout.
    """
    window = layer.window()
    spatial, sizes = window_sizes(layer, x, call)
    padding = full_padding(window, require_pairs(layer.padding), spatial, sizes)
    if unrolls(window):
        taps = [values for _, values in WindowTaps(pad_spatial(x, call, padding), call, window, sizes)]
        return sum(taps[1:], taps[0])
    x, padding = cropped(x, call, padding)
    return lax.reduce_window(
        x,
        0.0,
        lax.add,
        call.per_axis((1, 1, *window.kernel_size)),
        call.per_axis((1, 1, *window.stride)),
        call.per_axis(((0, 0), (0, 0), *padding)),
        window_dilation=call.per_axis((1, 1, *window.dilation)),
    )


def _divisors(layer: AvgPool, spatial: Shape, sizes: Shape, call: Call) -> np.ndarray:
    """How many positions each window counts, in the shape that divides the operand."""
    if layer.divisor is not None:
        return np.asarray(layer.divisor, np.float64)
    window = layer.window()
    counts = np.ones(())
    for axis, (begin, end) in enumerate(require_pairs(layer.padding)):
        first, last = (-begin, spatial[axis] + end) if layer.count_include_pad else (0, spatial[axis])
        starts = np.arange(sizes[axis]) * window.stride[axis] - begin
        inside = np.minimum(starts + window.kernel_size[axis], last) - np.maximum(starts, first)
        counts = counts[..., None] * inside
    if (counts == counts.flat[0]).all():
        return np.asarray(counts.flat[0])
    return counts.reshape(call.per_axis((1, 1, *counts.shape)))


@OPERATIONS.register("global_avg_pool")
def global_avg_pool(layer: GlobalAvgPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.mean``, which sums narrow types in float32."""
    x = inputs[0]
    return OpResult((jnp.mean(x, spatial_axes(call, x.ndim), keepdims=layer.keep_spatial),))


@OPERATIONS.register("global_max_pool")
def global_max_pool(layer: GlobalMaxPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The value at ``argmax``: unlike ``jnp.max`` it gives the whole gradient to the first maximum."""
    x = inputs[0]
    n, channels = x.shape[0], x.shape[call.channel_axis(x.ndim)]
    axis = 1 if call.channels_last else 2
    positions = math.prod(x.shape[axis] for axis in spatial_axes(call, x.ndim))
    flat = x.reshape((n, positions, channels) if call.channels_last else (n, channels, positions))
    y = jnp.take_along_axis(flat, jnp.argmax(flat, axis, keepdims=True), axis).reshape(n, channels)
    ones = (1,) * (x.ndim - 2)
    return OpResult((y.reshape(call.per_axis((n, channels, *ones))) if layer.keep_spatial else y,))


@OPERATIONS.register("adaptive_avg_pool")
def adaptive_avg_pool(layer: AdaptiveAvgPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The mean of slices, axis by axis.

    Not a product with a matrix of window weights: 0 times NaN or an infinity elsewhere on the axis is NaN.
    """
    x = inputs[0]
    if all(size == 1 for size in layer.sizes()):
        return OpResult((jnp.mean(x, spatial_axes(call, x.ndim), keepdims=True),))
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    for axis, size in zip(spatial_axes(call, x.ndim), layer.sizes(), strict=True):
        length = x.shape[axis]
        edges = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        parts = [lax.slice_in_dim(y, begin, end, axis=axis).mean(axis, keepdims=True) for begin, end in edges]
        y = jnp.concatenate(parts, axis)
    return OpResult((y.astype(x.dtype),))


@OPERATIONS.register("subsample")
def subsample(layer: Subsample, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Strided slicing."""
    steps = map(partial(slice, None, None), layer.strides())
    return OpResult((inputs[0][call.per_axis((slice(None), slice(None), *steps))],))
