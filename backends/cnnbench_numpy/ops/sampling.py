"""Reference sampling at the points of a grid: each output is a weighted sum of taps along every axis."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.sampling import CUBIC, GridSample
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


class _Tap(NamedTuple):
    """A tap along an axis for every point: its place, its weight, and the weight's slope in the coordinate."""

    place: Array
    weight: Array
    slope: Array


def _inside(layer: GridSample, at: Array, size: int) -> tuple[Array, Array]:
    """Coordinates brought into the image as ``padding`` has it, and their slope."""
    if layer.padding == "zeros":
        return at, np.ones_like(at)
    slope = np.ones_like(at)
    if layer.padding == "reflection":
        low, high = layer.reflected_about(size)
        span = high - low
        if span == 0:
            return np.zeros_like(at), np.zeros_like(at)
        distance = np.abs(at - low)
        slope = np.where(at < low, -1.0, 1.0)
        flips = np.floor(distance / span)
        rest = distance - flips * span
        odd = flips % 2 == 1
        at, slope = np.where(odd, high - rest, low + rest), np.where(odd, -slope, slope)
    slope = np.where((at < 0) | (at > size - 1), 0.0, slope)
    return np.clip(at, 0, size - 1), slope.astype(at.dtype)


def _taps(layer: GridSample, grid: Array, size: int) -> list[_Tap]:
    """The taps of every point along an axis of this size."""
    scale = (size - 1) / 2 if layer.align_corners else size / 2
    at = (grid + 1) * scale - (0 if layer.align_corners else 0.5)
    none = np.zeros_like(at)
    if layer.mode == "cubic":
        first = np.floor(at)
        t = at - first
        return [_tap(layer, first + k, *(_cubic(np.abs(t - k), np.sign(t - k), scale)), size) for k in (-1, 0, 1, 2)]
    at, slope = _inside(layer, at, size)
    if layer.mode == "nearest":
        return [_kept(np.rint(at), np.ones_like(at), none, size)]
    first = np.floor(at)
    t = at - first
    return [
        _kept(first, 1 - t, -slope * scale, size),
        _kept(first + 1, t, slope * scale, size),
    ]


def _tap(layer: GridSample, index: Array, weight: Array, slope: Array, size: int) -> _Tap:
    return _kept(np.rint(_inside(layer, index, size)[0]), weight, slope, size)


def _kept(index: Array, weight: Array, slope: Array, size: int) -> _Tap:
    """A tap with no weight outside the image."""
    inside = (index >= 0) & (index <= size - 1)
    return _Tap(np.where(inside, index, 0).astype(np.int64), np.where(inside, weight, 0), np.where(inside, slope, 0))


def _cubic(d: Array, sign: Array, scale: float) -> tuple[Array, Array]:
    """Keys' kernel of a distance, and its slope in the grid's coordinate."""
    a = CUBIC
    near = ((a + 2) * d - (a + 3)) * d**2 + 1, (3 * (a + 2) * d - 2 * (a + 3)) * d
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a, (3 * a * d - 10 * a) * d + 8 * a
    weight, slope = (np.where(d <= 1, n, f) for n, f in zip(near, far, strict=True))
    return weight, slope * sign * scale


def _corners(layer: GridSample, grid: Array, spatial: tuple[int, ...]) -> list[tuple[_Tap, ...]]:
    """Every combination of one tap an axis; the grid's coordinates are those of the last axis first."""
    axes = [_taps(layer, grid[..., len(spatial) - 1 - i], size) for i, size in enumerate(spatial)]
    return list(itertools.product(*axes))


def _flat(corner: tuple[_Tap, ...], spatial: tuple[int, ...]) -> Array:
    """Row-major positions in the image."""
    position = corner[0].place
    for tap, size in zip(corner[1:], spatial[1:], strict=True):
        position = position * size + tap.place
    return position.reshape(len(position), 1, math.prod(position.shape[1:]))


def _product(arrays: list[Array]) -> Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total * array
    return total.reshape(len(total), 1, math.prod(total.shape[1:]))


def grid_sample_backward(layer: GridSample, saved: Arrays, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """To the image: each gradient laid onto its taps. To the grid: the taps' slopes, summed over channels."""
    x, grid = saved
    spatial = x.shape[2:]
    images = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    g = gradients[0].reshape(*x.shape[:2], math.prod(gradients[0].shape[2:]))
    dx, dgrid = np.zeros_like(images), np.zeros((grid.shape[0], g.shape[2], grid.shape[-1]), grid.dtype)
    rows, channels = np.ogrid[: x.shape[0], : x.shape[1]]
    for corner in _corners(layer, grid, spatial):
        flat = _flat(corner, spatial)
        np.add.at(dx, (rows[..., None], channels[..., None], flat), g * _product([tap.weight for tap in corner]))
        values = np.take_along_axis(images, np.broadcast_to(flat, g.shape), axis=2)
        for i in range(len(spatial)):
            factor = _product([tap.slope if i == j else tap.weight for j, tap in enumerate(corner)])
            dgrid[..., len(spatial) - 1 - i] += (g * values * factor).sum(axis=1)
    return Gradients((dx.reshape(x.shape), dgrid.reshape(grid.shape)))


@REFERENCE.register("grid_sample", backward=grid_sample_backward)
def grid_sample(layer: GridSample, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum over the corners of tap weights times pixels; a pixel of weight 0 is not read, so that its NaN stays."""
    x, grid = inputs
    spatial = x.shape[2:]
    images = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    y = np.zeros((*x.shape[:2], int(np.prod(grid.shape[1:-1]))), x.dtype)
    for corner in _corners(layer, grid, spatial):
        flat = np.broadcast_to(_flat(corner, spatial), y.shape)
        weight = _product([tap.weight for tap in corner]).astype(x.dtype)
        y += np.where(weight != 0, np.take_along_axis(images, flat, axis=2), 0) * weight
    return OpResult((y.reshape(*x.shape[:2], *grid.shape[1:-1]),), saved=inputs)
