"""Budgets of sampling at points: sums of weighted pixels, at coordinates and weights that are computed as they go."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.hard_operands import Hardness, hard_operands, scaled
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import gamma, sharp_factor
from cnnbench.spec.layers.sampling import CUBIC, GridSample

Array = NDArray[Any]


@hard_operands("grid_sample")
def far_points(call: LayerCall, hard: Hardness) -> LayerCall:
    """Images of every scale, and points up to seven half images from the centre, reflected several times."""
    image, grid = scaled(call, hard).inputs
    periods = 2.0 * hard.generator.integers(-3, 4, grid.shape)
    return replace(call, inputs=(image, periods + hard.uniform(grid.shape, 0.8)))  # away from where reflection turns


COORDINATE_ROUNDINGS = 6  # g + 1, its product, the half, the reflection, the distance, the kernel's argument


class _Kernel(NamedTuple):
    """|w|, how much w moves with the coordinate, and the magnitude of the terms that make it up."""

    weight: Array
    slope: Array
    terms: Array


class _Tap(NamedTuple):
    """A tap along one axis: its pixel, its weight, and the weight's derivative in the grid's coordinate."""

    pixel: Array
    kernel: _Kernel
    derivative: _Kernel


@forward_formula("grid_sample")
def grid_sample(setting: Setting) -> ForwardBudget:
    """A sum of K taps, S = sum |w||x|; and what coordinates t and weights lose.

    An axis adds, over the taps, |dw/dt| |x| times c(6, u_acc) (|t| + 1), and for a cubic kernel c(6, u_acc) p(d) |x|,
    p being its polynomial on absolute coefficients (Horner's rule, Higham 2002, section 5.1). Coordinates are float32
    for every narrower type.
    """
    layer, (x, grid) = setting.layer, setting.call.inputs
    if layer.mode == "nearest":
        return ForwardBudget((exact(setting.u),))
    value, corners = setting.values.outputs[0], _corners(layer, grid, x.shape[2:])
    magnitude, moved = np.zeros((2, *x.shape[:2], corners[0][0].pixel.size // len(x)))
    for corner in corners:
        pixels = _pixels(np.abs(x), corner)
        total, part = _factors([tap.kernel for tap in corner])
        magnitude += pixels * total
        moved += pixels * part
    return ForwardBudget((_budget(setting, len(corners), magnitude, moved, value),))


@gradient_formula("grid_sample")
def grid_sample_gradient(setting: GradientSetting) -> GradientBudget:
    """To the image: the same taps, each laid onto its pixel; as many sums as points that reach it. To the grid: the sum
    over channels and taps of |dy||x| with one axis' kernel replaced by its derivative, which moves and rounds likewise.
    """
    layer, (x, grid), dy = setting.layer, setting.call.inputs, np.abs(setting.cotangents[0])
    rank, (to_image, to_grid) = x.ndim - 2, setting.gradients.inputs
    corners = _corners(layer, grid, x.shape[2:])
    dy = dy.reshape(*x.shape[:2], -1)
    image = np.zeros((3, *x.shape[:2], math.prod(x.shape[2:])))
    points = np.zeros((2, *grid.shape))
    rows, channels = np.ogrid[: x.shape[0], : x.shape[1]]
    for corner in corners:
        place = (rows[..., None], channels[..., None], _flat(corner))
        total, part = _factors([tap.kernel for tap in corner])
        for into, amount in zip(image, (dy * total, dy * part, np.ones_like(dy)), strict=True):
            np.add.at(into, place, amount)
        products = (dy * _pixels(np.abs(x), corner)).sum(axis=1)
        for i in range(rank):
            kernels = [tap.derivative if i == j else tap.kernel for j, tap in enumerate(corner)]
            for into, factor in zip(points, _factors(kernels), strict=True):
                into[..., rank - 1 - i] += (products * factor[:, 0]).reshape(grid.shape[:-1])
    taps = len(corners)
    budget = _budget(setting, taps + float(image[2].max()), image[0], image[1], np.asarray(to_image))
    if layer.mode == "nearest":
        return GradientBudget((budget, exact(setting.u)))
    return GradientBudget((budget, _budget(setting, 2 * taps * x.shape[1], points[0], points[1], np.asarray(to_grid))))


def _budget(setting: Setting, count: float, magnitude: Array, moved: Array, value: Array) -> Budget:
    u = replace(setting.u, operand=0.0)
    magnitude, moved = magnitude.reshape(value.shape), moved.reshape(value.shape)
    base = sum_of_products(magnitude, count + 2, u, rounded=np.abs(value) + magnitude, squares=None)
    each = COORDINATE_ROUNDINGS
    return Budget(
        base.sharp + sharp_factor(each, u.accumulated) * moved, base.worst + gamma(each, u.accumulated) * moved
    )


def _factors(kernels: list[_Kernel]) -> tuple[Array, Array]:
    """The product of the weights over the axes, and the sum over axes of it with one moved or rounded."""
    total = _product([kernel.weight for kernel in kernels])
    moved = np.zeros_like(total)
    for i in range(len(kernels)):
        for part in (kernels[i].slope, kernels[i].terms):
            moved += _product([part if i == j else kernel.weight for j, kernel in enumerate(kernels)])
    return total, moved


def _corners(layer: GridSample, grid: Array, spatial: tuple[int, ...]) -> list[tuple[_Tap, ...]]:
    rank = len(spatial)
    strides = [math.prod(spatial[i + 1 :]) for i in range(rank)]
    axes = [_taps(layer, grid[..., rank - 1 - i], n, strides[i]) for i, n in enumerate(spatial)]
    return list(itertools.product(*axes))


def _taps(layer: GridSample, grid: Array, size: int, stride: int) -> list[_Tap]:
    scale = (size - 1) / 2 if layer.align_corners else size / 2
    at = (grid + 1) * scale - (0 if layer.align_corners else 0.5)
    reach = np.abs(at) + 1
    if layer.mode == "cubic":
        first = np.floor(at)
        found = [(first + k, *_cubic(np.abs(at - first - k))) for k in (-1, 0, 1, 2)]
    else:
        at = _inside(layer, at, size)
        first, none, ones = np.floor(at), np.zeros_like(at), np.ones_like(at)
        flat = _Kernel(ones, none, none)
        found = [
            (first, _Kernel(1 - (at - first), ones, none), flat),
            (first + 1, _Kernel(at - first, ones, none), flat),
        ]
        if layer.mode == "nearest":
            found = [(np.rint(at), _Kernel(ones, none, none), _Kernel(none, none, none))]
    taps = []
    for index, kernel, derivative in found:
        index = np.rint(_inside(layer, index, size))
        inside = (index >= 0) & (index <= size - 1)
        kernel = _Kernel(kernel.weight * inside, kernel.slope * reach * inside, kernel.terms * inside)
        scaled = inside * scale
        derivative = _Kernel(derivative.weight * scaled, derivative.slope * reach * scaled, derivative.terms * scaled)
        taps.append(_Tap(np.where(inside, index, 0).astype(np.int64) * stride, kernel, derivative))
    return taps


def _cubic(d: Array) -> tuple[_Kernel, _Kernel]:
    """Keys' kernel of a distance, and its derivative."""
    a, near = CUBIC, d <= 1
    b = abs(a)
    weight = np.where(near, ((a + 2) * d - (a + 3)) * d**2 + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)
    first = np.where(near, (3 * (a + 2) * d - 2 * (a + 3)) * d, (3 * a * d - 10 * a) * d + 8 * a)
    second = np.where(near, 6 * (a + 2) * d - 2 * (a + 3), 6 * a * d - 10 * a)
    terms = np.where(near, ((a + 2) * d + (a + 3)) * d**2 + 1, ((b * d + 5 * b) * d + 8 * b) * d + 4 * b)
    of_first = np.where(near, (3 * (a + 2) * d + 2 * (a + 3)) * d, (3 * b * d + 10 * b) * d + 8 * b)
    return _Kernel(np.abs(weight), np.abs(first), terms), _Kernel(np.abs(first), np.abs(second), of_first)


def _inside(layer: GridSample, at: Array, size: int) -> Array:
    if layer.padding == "zeros":
        return at
    if layer.padding == "reflection":
        low, high = layer.reflected_about(size)
        period = 2 * (high - low)
        if period == 0:
            return np.zeros_like(at)
        rest = np.mod(at - low, period)
        at = low + np.minimum(rest, period - rest)
    return np.clip(at, 0, size - 1)


def _flat(corner: tuple[_Tap, ...]) -> Array:
    position = np.asarray(sum(tap.pixel for tap in corner))
    return position.reshape(len(position), 1, -1)


def _pixels(images: Array, corner: tuple[_Tap, ...]) -> Array:
    """The pixels under a corner, (N, C, points)."""
    flat = _flat(corner)
    rows = images.reshape(*images.shape[:2], -1)
    return np.take_along_axis(rows, np.broadcast_to(flat, (*rows.shape[:2], flat.shape[2])), axis=2)


def _product(arrays: list[Array]) -> Array:
    """(N, 1, points)."""
    total = np.asarray(math.prod(arrays))
    return total.reshape(len(total), 1, -1)
