"""Sampling at the points of a grid: taps gathered along every axis; ``map_coordinates`` has no such padding."""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.sampling import CUBIC, GridSample
from cnnbench_jax.ops.reduction import wide
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]
Tap = tuple[Array, Array]


def _inside(layer: GridSample, at: Array, size: int) -> Array:
    """Coordinates brought into the image as ``padding`` has it."""
    if layer.padding == "zeros":
        return at
    if layer.padding == "reflection":
        low, high = layer.reflected_about(size)
        span = high - low
        if span == 0:
            return jnp.zeros_like(at)
        distance = jnp.abs(at - low)
        flips = jnp.floor(distance / span)
        rest = distance - flips * span
        at = jnp.where(flips % 2 == 1, high - rest, low + rest)
    return jnp.clip(at, 0, size - 1)


def _cubic(d: Array) -> Array:
    a = CUBIC
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    return jnp.where(d <= 1, near, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)


def _taps(layer: GridSample, grid: Array, size: int) -> list[Tap]:
    """(index, weight) of the taps along an axis, without weight outside the image."""
    at = (grid + 1) * ((size - 1) / 2) if layer.align_corners else (grid + 1) * (size / 2) - 0.5
    if layer.mode == "cubic":
        first = jnp.floor(at)
        t = at - first
        found = [(jnp.round(_inside(layer, first + k, size)), _cubic(jnp.abs(t - k))) for k in (-1, 0, 1, 2)]
    elif layer.mode == "nearest":
        found = [(jnp.round(_inside(layer, at, size)), jnp.ones_like(at))]
    else:
        at = _inside(layer, at, size)
        first = jnp.floor(at)
        found = [(first, 1 - (at - first)), (first + 1, at - first)]
    kept = [((index >= 0) & (index <= size - 1), index, weight) for index, weight in found]
    return [(jnp.where(i, index, 0).astype(jnp.int32), jnp.where(i, weight, 0)) for i, index, weight in kept]


@OPERATIONS.register("grid_sample")
def grid_sample(layer: GridSample, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum over all combinations of taps, in float32 at least."""
    x, grid = inputs
    images, points = (
        wide(x).reshape(*x.shape[:2], math.prod(x.shape[2:])),
        wide(grid).reshape(grid.shape[0], math.prod(grid.shape[1:-1]), grid.shape[-1]),
    )
    spatial = x.shape[2:]
    axes = [_taps(layer, points[..., len(spatial) - 1 - i], size) for i, size in enumerate(spatial)]
    total = jnp.zeros((*x.shape[:2], points.shape[1]), images.dtype)
    for corner in itertools.product(*axes):
        strides = [math.prod(spatial[i + 1 :]) for i in range(len(spatial))]
        flat = sum(index * stride for (index, _), stride in zip(corner, strides, strict=True))
        factor = math.prod(weight for _, weight in corner)
        total = total + jnp.take_along_axis(images, flat[:, None, :], axis=2) * factor[:, None, :]
    return OpResult((total.astype(x.dtype).reshape(*x.shape[:2], *grid.shape[1:-1]),))
