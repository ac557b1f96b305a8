"""Reference sampling of regions between pixels, one by one: of one feature map, or each of its own level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.roi_align import LevelRoIAlign, RoIAlign
from cnnbench_numpy.ops.detection import Region, regions_of
from cnnbench_numpy.ops.registry import Array, Arrays, spatial

Window = tuple[slice, slice, slice]


def _samples(layer: RoIAlign, region: Region, axis: int, size: int) -> list[list[tuple[int, int, float, float]]]:
    """For each cell along an axis its samples: two pixels and their weights, which are 0 outside the features."""
    offset = 0.5 if layer.aligned else 0.0
    start, out = region.start[axis] - offset, layer.grid()[axis]
    length = region.end[axis] - offset - start
    if not layer.aligned:
        length = max(length, 1.0)
    count = layer.sampling_ratio or min(max(math.ceil(length / out), 0), layer.most_samples(axis, size))
    cells = []
    for i in range(out):
        samples = []
        for s in range(count):
            place = start + length / out * (i + (s + 0.5) / count)
            inside = float(-1 <= place <= size)
            place = min(max(place, 0.0), size - 1.0)
            low = math.floor(place)
            share = place - low
            samples.append((low, min(low + 1, size - 1), inside * (1 - share), inside * share))
        cells.append(samples)
    return cells


def _mean_of_samples(cells: list[list[tuple[int, int, float, float]]], size: int, dtype: Any) -> Array:
    """(cells, size): what each pixel of an axis contributes to the mean over each cell's samples."""
    matrix = np.zeros((len(cells), size), dtype)
    for row, samples in zip(matrix, cells, strict=True):
        for low, high, at_low, at_high in samples:
            row[low] += at_low / len(samples)
            row[high] += at_high / len(samples)
    return matrix


def _interpolation(layer: RoIAlign, region: Region, sizes: Shape, dtype: Any) -> tuple[list[Array], Window]:
    """The matrix of either axis, cut to the pixels that the region sees, and where these lie."""
    matrices, window = [], []
    for axis, size in enumerate(sizes):
        matrix = _mean_of_samples(_samples(layer, region, axis, size), size, dtype)
        seen = np.flatnonzero(matrix.any(axis=0))
        window.append(slice(seen[0], seen[-1] + 1) if len(seen) else slice(0))
        matrices.append(matrix[:, window[-1]])
    return matrices, (slice(None), window[0], window[1])


def _weighted(rows: Array, x: Array, columns: Array) -> Array:
    """rows @ x @ columns.T with weights >= 0, where a weight of 0 reads nothing: neither NaN nor an infinity."""
    finite = np.isfinite(x)
    y = np.asarray(rows @ np.where(finite, x, 0) @ columns.T)
    tests = ((np.isposinf, math.inf), (np.isneginf, -math.inf), (np.isnan, math.nan))
    for test, value in () if finite.all() else tests:
        y[(rows > 0) @ test(x) @ (columns > 0).T] += value
    return y


def _largest_product(layer: RoIAlign, features: Array, region: Region) -> Iterator[tuple[int, int, Array, Array]]:
    """For mode ``max``, each cell with its samples' products (products, C) and where they come from (y, x, weight)."""
    sizes = features.shape[2:]
    rows, columns = (_samples(layer, region, axis, sizes[axis]) for axis in (0, 1))
    for i, vertical in enumerate(rows):
        for j, horizontal in enumerate(columns):
            places = [
                (y, x, wy * wx)
                for y1, y2, wy1, wy2 in vertical
                for x1, x2, wx1, wx2 in horizontal
                for y, wy in ((y1, wy1), (y2, wy2))
                for x, wx in ((x1, wx1), (x2, wx2))
            ]
            if places:
                table = np.array(places)
                y, x = table[:, 0].astype(int), table[:, 1].astype(int)
                weight = table[:, 2:].astype(features.dtype)
                yield i, j, np.where(weight > 0, features[region.image][:, y, x].T, 0) * weight, table


def roi_align_backward(layer: RoIAlign, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The transposed interpolation for ``avg``; for ``max`` the weight of the winning product at its pixel."""
    features, (dy,) = saved[0], gradients
    dx = np.zeros(features.shape, dy.dtype)
    for region in regions_of(layer, saved):
        if layer.mode == "avg":
            (rows, columns), window = _interpolation(layer, region, features.shape[2:], dy.dtype)
            dx[region.image][window] += rows.T @ dy[region.number] @ columns
            continue
        for i, j, products, table in _largest_product(layer, features, region):
            winner = table[products.argmax(axis=0)]
            y, x = winner[:, 0].astype(int), winner[:, 1].astype(int)
            channels = np.arange(features.shape[1])
            np.add.at(dx[region.image], (channels, y, x), winner[:, 2] * dy[region.number, :, i, j])
    return Gradients((dx, *(None,) * (len(saved) - 1)))


@spatial("roi_align", backward=roi_align_backward)
def roi_align(layer: RoIAlign, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Interpolation is the same along rows and columns, so the mean over samples is a matrix for each axis."""
    features = inputs[0]
    y = np.zeros(layer.output_shapes(tuple(x.shape for x in inputs))[0], features.dtype)
    for region in regions_of(layer, inputs):
        if layer.mode == "avg":
            (rows, columns), window = _interpolation(layer, region, features.shape[2:], features.dtype)
            y[region.number] = _weighted(rows, features[region.image][window], columns)
            continue
        for i, j, products, _ in _largest_product(layer, features, region):
            y[region.number, :, i, j] = products.max(axis=0)
    return OpResult((y,), saved=inputs)


def _levels(layer: LevelRoIAlign, inputs: Arrays) -> Iterator[tuple[RoIAlign, Array, Arrays]]:
    """Of each level the layer, the numbers of its boxes, and its operands."""
    boxes, level, *features = inputs
    image = np.arange(len(boxes)) // max(len(boxes) // max(len(features[0]), 1), 1)
    for number, one in enumerate(features):
        own = np.flatnonzero(level[:, 0] == number)
        yield layer.of_level(number), own, (one, boxes[own], image[own])


def level_roi_align_backward(
    layer: LevelRoIAlign, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """Each level gets what its own boxes give."""
    found = [
        roi_align_backward(alone, operands, (gradients[0][own],), (), call).inputs[0]
        for alone, own, operands in _levels(layer, saved)
    ]
    return Gradients((None, None, *found))


@spatial("level_roi_align", backward=level_roi_align_backward)
def level_roi_align(layer: LevelRoIAlign, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The boxes of each level in turn."""
    y = np.zeros(layer.output_shapes(tuple(x.shape for x in inputs))[0], inputs[2].dtype)
    for alone, own, operands in _levels(layer, inputs):
        y[own] = roi_align(alone, operands, (), (), call).outputs[0]
    return OpResult((y,), saved=inputs)
