"""Sampling at the points of a grid: taps gathered along every axis; TensorFlow has no such function."""

from __future__ import annotations

import itertools
import math
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.sampling import CUBIC, GridSample
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def _inside(layer: GridSample, at: Any, size: int) -> Any:
    """Coordinates brought into the image as ``padding`` has it."""
    if layer.padding == "zeros":
        return at
    if layer.padding == "reflection":
        low, high = layer.reflected_about(size)
        span = high - low
        if span == 0:
            return tf.zeros_like(at)
        distance = tf.abs(at - low)
        flips = tf.floor(distance / span)
        rest = distance - flips * span
        at = tf.where(tf.equal(tf.math.floormod(flips, 2), 1), high - rest, low + rest)
    return tf.clip_by_value(at, tf.cast(0, at.dtype), tf.cast(size - 1, at.dtype))


def _cubic(d: Any) -> Any:
    a = CUBIC
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    return tf.where(d <= 1, near, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)


def _taps(layer: GridSample, grid: Any, size: int) -> list[tuple[Any, Any]]:
    """(index, weight) of the taps along an axis, without weight outside the image."""
    at = (grid + 1) * ((size - 1) / 2) if layer.align_corners else (grid + 1) * (size / 2) - 0.5
    if layer.mode == "cubic":
        first = tf.floor(at)
        t = at - first
        found = [(tf.round(_inside(layer, first + k, size)), _cubic(tf.abs(t - k))) for k in (-1, 0, 1, 2)]
    elif layer.mode == "nearest":
        found = [(tf.round(_inside(layer, at, size)), tf.ones_like(at))]
    else:
        at = _inside(layer, at, size)
        first = tf.floor(at)
        found = [(first, 1 - (at - first)), (first + 1, at - first)]
    kept = [((index >= 0) & (index <= size - 1), index, weight) for index, weight in found]
    return [
        (tf.cast(tf.where(i, index, tf.zeros_like(index)), tf.int64), tf.where(i, weight, tf.zeros_like(weight)))
        for i, index, weight in kept
    ]


@OPERATIONS.register("grid_sample")
def grid_sample(layer: GridSample, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The sum over all combinations of taps, in float32 at least."""
    x, grid = inputs
    shape, spatial = tuple(x.shape), tuple(x.shape)[2:]
    images = tf.transpose(tf.reshape(wide(x), (*shape[:2], math.prod(spatial))), (0, 2, 1))  # (N, positions, C)
    points = tf.reshape(wide(grid), (shape[0], math.prod(tuple(grid.shape)[1:-1]), len(spatial)))
    axes = [_taps(layer, points[..., len(spatial) - 1 - i], size) for i, size in enumerate(spatial)]
    strides = [math.prod(spatial[i + 1 :]) for i in range(len(spatial))]
    total = 0
    for corner in itertools.product(*axes):
        flat = sum(index * stride for (index, _), stride in zip(corner, strides, strict=True))
        factor = math.prod(weight for _, weight in corner)
        total += tf.gather(images, flat, axis=1, batch_dims=1) * factor[..., tf.newaxis]
    y = tf.transpose(tf.cast(total, x.dtype), (0, 2, 1))
    return OpResult((tf.reshape(y, (*shape[:2], *tuple(grid.shape)[1:-1])),))
