"""Reference ops of detectors: regions of features one by one, anchors, greedy suppression."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, RoIMaxPool, TakeRows
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays, spatial


class Region(NamedTuple):
    """One box: its number, its image, and its corners in the features' coordinates."""

    number: int
    image: int
    start: tuple[float, float]
    end: tuple[float, float]


def regions_of(layer: RoIMaxPool, inputs: Arrays) -> Iterator[Region]:
    """The boxes, rows before columns; without images of their own they belong to the images in equal shares."""
    features, boxes = inputs[:2]
    images = inputs[2] if len(inputs) == 3 else np.arange(len(boxes)) // max(len(boxes) // max(len(features), 1), 1)
    for number, (box, image) in enumerate(zip(boxes, images, strict=True)):
        x1, y1, x2, y2 = (float(corner) for corner in box * boxes.dtype.type(layer.spatial_scale))
        yield Region(number, int(image), (y1, x1), (y2, x2))


def _half_away(value: float) -> int:
    """round() of C: halves away from zero."""
    whole = math.floor(abs(value))
    return int(math.copysign(whole + (abs(value) - whole >= 0.5), value))


def _cells(layer: RoIMaxPool, region: Region, sizes: tuple[int, ...]) -> Iterator[tuple[int, int, slice, slice]]:
    """Each cell of the grid with the rows and the columns that it sees."""
    ranges = []
    for axis, size in enumerate(sizes):
        begin, out = _half_away(region.start[axis]), layer.grid()[axis]
        length = max(_half_away(region.end[axis]) - begin + 1, 1)
        edges = [(begin + i * length // out, begin - (-(i + 1) * length // out)) for i in range(out)]
        ranges.append([slice(min(max(low, 0), size), min(max(high, 0), size)) for low, high in edges])
    for i, rows in enumerate(ranges[0]):
        for j, columns in enumerate(ranges[1]):
            yield i, j, rows, columns


def roi_max_pool_backward(layer: RoIMaxPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The gradient of each cell goes to its first maximum in row-major order."""
    features, (dy,) = saved[0], gradients
    dx = np.zeros(features.shape, dy.dtype)
    for region in regions_of(layer, saved):
        for i, j, rows, columns in _cells(layer, region, features.shape[2:]):
            seen = features[region.image, :, rows, columns]
            if seen.size:
                flat = seen.reshape(len(seen), -1).argmax(axis=1)
                y, x = np.unravel_index(flat, seen.shape[1:])
                channels = np.arange(len(seen))
                dx[region.image, channels, rows.start + y, columns.start + x] += dy[region.number, :, i, j]
    return Gradients((dx, *(None,) * (len(saved) - 1)))


@spatial("roi_max_pool", backward=roi_max_pool_backward)
def roi_max_pool(layer: RoIMaxPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The maximum of each cell of each region's grid, 0 where the cell is empty."""
    features = inputs[0]
    y = np.zeros(layer.output_shapes(tuple(x.shape for x in inputs))[0], features.dtype)
    for region in regions_of(layer, inputs):
        for i, j, rows, columns in _cells(layer, region, features.shape[2:]):
            seen = features[region.image, :, rows, columns]
            if seen.size:
                y[region.number, :, i, j] = seen.max(axis=(1, 2))
    return OpResult((y,), saved=inputs)


def anchor_grid_backward(layer: AnchorGrid, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Anchors do not depend on the features' values."""
    return Gradients((None,))


@spatial("anchor_grid", backward=anchor_grid_backward)
def anchor_grid(layer: AnchorGrid, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The boxes around the origin, moved to every position."""
    height, width = inputs[0].shape[2:]
    down, right = layer.strides()
    y, x = np.meshgrid(np.arange(height) * down, np.arange(width) * right, indexing="ij")
    centres = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return OpResult(((centres + np.array(layer.around_origin())).reshape(-1, 4).astype(inputs[0].dtype),))


def _as_corners(layer: NonMaxSuppression, boxes: Array) -> Array:
    """(x1, y1, x2, y2) with x1 <= x2 and y1 <= y2."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if layer.box_format == "center":
        first, second = first - second / 2, first + second / 2
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)


def _overlap(box: Array, others: Array) -> Array:
    """Intersection over union of one box with others; 0 where the union is 0."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.maximum(sides, 0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(union), where=union > 0))


def _suppressed(layer: NonMaxSuppression, boxes: Array, scores: Array) -> list[int]:
    """The indices that stay, by falling score."""
    corners = _as_corners(layer, boxes)
    takes_part = np.ones(len(boxes), bool)
    if layer.score_threshold is not None:
        takes_part &= scores > layer.score_threshold
    if layer.min_size is not None:
        takes_part &= (corners[:, 2:] - corners[:, :2] >= layer.min_size).all(axis=1)
    stay: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if len(stay) == layer.max_outputs:
            break
        if takes_part[index]:
            stay.append(int(index))
            takes_part &= ~(_overlap(corners[index], corners) > layer.iou_threshold)
    return stay


@REFERENCE.register("non_max_suppression")
def non_max_suppression(
    layer: NonMaxSuppression, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """The greedy rule as the specification has it, for each set of boxes."""
    boxes, scores = inputs
    batch = scores.shape[:-1]
    indices = np.full((*batch, layer.max_outputs), -1, np.int64)
    count = np.zeros(batch, np.int64)
    for place in np.ndindex(*batch):
        stay = _suppressed(layer, boxes[place], scores[place])
        indices[place][: len(stay)] = stay
        count[place] = len(stay)
    return OpResult((indices, count))


def take_rows_backward(layer: TakeRows, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each row gets the sum over those that took it."""
    shape, indices = saved
    dx = np.zeros(shape, gradients[0].dtype)
    for image, taken in enumerate(indices):
        np.add.at(dx[image], taken[taken >= 0], gradients[0][image][taken >= 0])
    return Gradients((dx, None))


@REFERENCE.register("take_rows", backward=take_rows_backward)
def take_rows(layer: TakeRows, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Indexing image by image."""
    values, indices = inputs
    y = np.zeros((*indices.shape, *values.shape[2:]), values.dtype)
    for image, taken in enumerate(indices):
        y[image][taken >= 0] = values[image][taken[taken >= 0]]
    return OpResult((y,), saved=(values.shape, indices))
