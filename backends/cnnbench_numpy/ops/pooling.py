"""Reference pooling: max, min, average, global, adaptive, plain subsampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, Shape, Subsample
from cnnbench.spec.layers.pooling import MinPool, WindowPool
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_numpy.ops.registry import Array, Arrays, spatial
from cnnbench_numpy.ops.taps import Pairs, Slices, at, crop_spatial, pad_spatial, reach, taps


def window_padding(layer: WindowPool, x: Shape, out: Shape) -> Pairs:
    """The padding, its end grown where the last window of ``ceil_mode`` reaches further.

    Args:
        layer: Resolved.
        x: The shape (N, C, *spatial) of the input.
        out: That of the output.
    """
    return reach(x[2:], tuple(require_pairs(layer.padding)), layer.window(), out[2:])


def _winners(layer: MaxPool, x: Array, out: Shape) -> Array:
    """For each window the number of the tap that holds its first maximum; a NaN wins, padding never does."""
    padding = window_padding(layer, x.shape, out)
    padded = pad_spatial(x, padding, -math.inf)
    inside = pad_spatial(np.ones((1, 1, *x.shape[2:])), padding) > 0
    best = np.full(out, -math.inf, x.dtype)
    winner = np.full(out, -1)
    for number, (_, place) in enumerate(taps(layer.window(), out[2:])):
        candidate = padded[place]
        larger = (candidate > best) | (np.isnan(candidate) & ~np.isnan(best))
        wins = inside[place] & (larger | (winner < 0))
        winner[wins] = number
        best[wins] = candidate[wins]
    return winner


def max_pool_backward(layer: MaxPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient of each window goes to its first maximum in row-major order."""
    x, (dy,) = saved, gradients
    winner = _winners(layer, x, dy.shape)
    padding = window_padding(layer, x.shape, dy.shape)
    d_padded = np.zeros_like(pad_spatial(x, padding))
    for number, (_, place) in enumerate(taps(layer.window(), dy.shape[2:])):
        d_padded[place] += np.where(winner == number, dy, 0)
    return Gradients((crop_spatial(d_padded, padding, x.shape[2:]),))


@spatial("max_pool", backward=max_pool_backward)
def max_pool(layer: MaxPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The largest value of each window; a NaN in it gives NaN, padding counts as minus infinity."""
    x = inputs[0]
    out = layer.output_shapes((x.shape,))[0]
    padded = pad_spatial(x, window_padding(layer, x.shape, out), -math.inf)
    y = np.full(out, -math.inf, x.dtype)
    for _, place in taps(layer.window(), out[2:]):
        y = np.maximum(y, padded[place])
    return OpResult((y,), saved=x)


def min_pool_backward(layer: MinPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient of each window goes to its first minimum: two changes of sign leave it as it is."""
    return max_pool_backward(layer.maximum(), saved, gradients, weights, call)


@spatial("min_pool", backward=min_pool_backward)
def min_pool(layer: MinPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The smallest value of each window: minus the largest of the values' negatives."""
    result = max_pool(layer.maximum(), (-inputs[0],), weights, state, call)
    return result._replace(outputs=(-result.outputs[0],))


def _divisors(layer: AvgPool, x: Shape, out: Shape, dtype: Any) -> Array:
    """The number of positions that each window averages over: (*out), or the fixed divisor."""
    if layer.divisor is not None:
        return np.full(out[2:], layer.divisor, dtype)
    window = layer.window()
    counts = np.ones((), dtype)
    for axis, (begin, end) in enumerate(require_pairs(layer.padding)):
        start = np.arange(out[2 + axis]) * window.stride[axis] - begin
        stop = start + window.kernel_size[axis]
        low, high = (-begin, x[2 + axis] + end) if layer.count_include_pad else (0, x[2 + axis])
        counts = np.multiply.outer(counts, (np.minimum(stop, high) - np.maximum(start, low)).astype(dtype))
    return counts


def avg_pool_backward(layer: AvgPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each position of a window gets the window's gradient over its divisor."""
    shape, (dy,) = saved, gradients
    padding = window_padding(layer, shape, dy.shape)
    share = dy / _divisors(layer, shape, dy.shape, dy.dtype)
    d_padded = pad_spatial(np.zeros(shape, dy.dtype), padding)
    for _, place in taps(layer.window(), dy.shape[2:]):
        d_padded[place] += share
    return Gradients((crop_spatial(d_padded, padding, shape[2:]),))


@spatial("avg_pool", backward=avg_pool_backward)
def avg_pool(layer: AvgPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum of each window over its divisor: its positions, the padded ones too if ``count_include_pad``."""
    x = inputs[0]
    out = layer.output_shapes((x.shape,))[0]
    padded = pad_spatial(x, window_padding(layer, x.shape, out))
    total = np.zeros(out, x.dtype)
    for _, place in taps(layer.window(), out[2:]):
        total += padded[place]
    return OpResult((total / _divisors(layer, x.shape, out, x.dtype),), saved=x.shape)


def _spatial_axes(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def global_avg_pool_backward(
    layer: GlobalAvgPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """Every position gets dy / positions."""
    share = gradients[0].reshape(*saved[:2], *(1,) * (len(saved) - 2)) / math.prod(saved[2:])
    return Gradients((np.broadcast_to(share, saved).copy(),))


@spatial("global_avg_pool", backward=global_avg_pool_backward)
def global_avg_pool(layer: GlobalAvgPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The mean over all positions."""
    x = inputs[0]
    return OpResult((x.mean(axis=_spatial_axes(x), keepdims=layer.keep_spatial),), saved=x.shape)


def global_max_pool_backward(
    layer: GlobalMaxPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """The gradient goes to the first maximum in row-major order."""
    flat = saved.reshape(*saved.shape[:2], math.prod(saved.shape[2:]))
    dx = np.zeros(flat.shape, flat.dtype)
    first = flat.argmax(axis=2)[:, :, None]
    np.put_along_axis(dx, first, gradients[0].reshape(first.shape), axis=2)
    return Gradients((dx.reshape(saved.shape),))


@spatial("global_max_pool", backward=global_max_pool_backward)
def global_max_pool(layer: GlobalMaxPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The maximum over all positions; NaN wins."""
    x = inputs[0]
    return OpResult((x.max(axis=_spatial_axes(x), keepdims=layer.keep_spatial),), saved=x)


def _cells(layer: AdaptiveAvgPool, shape: Shape) -> list[tuple[tuple[int, ...], Slices]]:
    """Each output position with the slices that it averages: floor(i size / out) to ceil((i + 1) size / out)."""
    sizes, outs = shape[2:], layer.sizes()
    cells = []
    for index in np.ndindex(*outs):
        ranges = (
            slice(i * size // out, -(-(i + 1) * size // out)) for i, size, out in zip(index, sizes, outs, strict=True)
        )
        cells.append((index, (slice(None), slice(None), *ranges)))
    return cells


def adaptive_avg_pool_backward(
    layer: AdaptiveAvgPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """Each position of a cell's range gets the cell's gradient over the length of the range."""
    dy = gradients[0]
    dx = np.zeros(saved, dy.dtype)
    for index, place in _cells(layer, saved):
        target = dx[place]
        share = dy[at(index)] / math.prod(target.shape[2:])
        target += share.reshape(*share.shape, *(1,) * (target.ndim - 2))
    return Gradients((dx,))


@spatial("adaptive_avg_pool", backward=adaptive_avg_pool_backward)
def adaptive_avg_pool(layer: AdaptiveAvgPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The mean of each output position's range."""
    x = inputs[0]
    y = np.empty((*x.shape[:2], *layer.sizes()), x.dtype)
    for index, place in _cells(layer, x.shape):
        y[at(index)] = x[place].mean(axis=_spatial_axes(x))
    return OpResult((y,), saved=x.shape)


def _kept(layer: Subsample) -> Slices:
    return (slice(None), slice(None), *(slice(None, None, stride) for stride in layer.strides()))


def subsample_backward(layer: Subsample, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The positions that were kept get the gradient, the others nothing."""
    dx = np.zeros(saved, gradients[0].dtype)
    dx[_kept(layer)] = gradients[0]
    return Gradients((dx,))


@spatial("subsample", backward=subsample_backward)
def subsample(layer: Subsample, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Every stride-th position of each spatial axis."""
    return OpResult((inputs[0][_kept(layer)].copy(),), saved=inputs[0].shape)
