"""Expected values computed here where ONNX's own are rounded: plain loops over the definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _fields(proto: Any) -> dict[str, Any]:
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in proto.attribute}


def average_pool(proto: Any, x: Array) -> Array:
    """AveragePool by the words of its specification: what a window sees of the input and, if asked, of its padding."""
    fields = _fields(proto)
    kernel = fields["kernel_shape"]
    axes = len(kernel)
    strides = fields.get("strides", [1] * axes)
    pads = fields.get("pads", [0] * 2 * axes)
    spatial = x.shape[2:]
    rounded: Callable[[float], int] = math.ceil if fields.get("ceil_mode", 0) else math.floor
    sizes = []
    for i in range(axes):
        size = rounded((spatial[i] + pads[i] + pads[axes + i] - kernel[i]) / strides[i]) + 1
        if (size - 1) * strides[i] >= spatial[i] + pads[i]:
            size -= 1  # the last window would start in the padding at the end
        sizes.append(size)
    y = np.zeros((*x.shape[:2], *sizes), np.float64)
    for place in itertools.product(*(range(size) for size in y.shape)):
        total, count = 0.0, 0
        for tap in itertools.product(*(range(k) for k in kernel)):
            at = [p * s - pads[i] + t for i, (p, s, t) in enumerate(zip(place[2:], strides, tap, strict=True))]
            inside = all(0 <= a < n for a, n in zip(at, spatial, strict=True))
            padded = all(a < n + pads[axes + i] for i, (a, n) in enumerate(zip(at, spatial, strict=True)))
            total += float(x[(*place[:2], *at)]) if inside else 0.0
            count += inside or bool(fields.get("count_include_pad", 0) and padded)
        y[place] = total / count
    return y.astype(x.dtype)


def roi_align(proto: Any, x: Array, rois: Array, images: Array) -> Array:
    """RoiAlign, the mean over each cell's samples of the bilinear value between four pixels.

    Args:
        proto: The ONNX node, with its attributes.
        x: (N, C, H, W).
        rois: Corners x1, y1, x2, y2 of each region, (R, 4); the result is (R, C, output height, output width).
        images: Which of the N images each region lies in, (R,).
    """
    fields = _fields(proto)
    rows, columns = fields["output_height"], fields["output_width"]
    half = fields.get("coordinate_transformation_mode", b"half_pixel") == b"half_pixel"
    offset, samples = (0.5 if half else 0.0), fields["sampling_ratio"]
    y = np.zeros((len(rois), x.shape[1], rows, columns), np.float64)
    for r, box in enumerate(rois.astype(np.float64)):
        left, top, right, bottom = box * fields.get("spatial_scale", 1.0) - offset
        height, width = (side if half else max(side, 1.0) for side in (bottom - top, right - left))
        for c, i, j in itertools.product(range(x.shape[1]), range(rows), range(columns)):
            total = 0.0
            for a, b in itertools.product(range(samples), range(samples)):
                at = top + (i + (a + 0.5) / samples) * height / rows, left + (j + (b + 0.5) / samples) * width / columns
                total += _bilinear(x[images[r], c], *at)
            y[r, c, i, j] = total / samples**2
    return y.astype(x.dtype)


def _bilinear(image: Array, row: float, column: float) -> float:
    """The value between four pixels; 0 more than one pixel outside, the border's up to there."""
    if not (-1 <= row <= image.shape[0] and -1 <= column <= image.shape[1]):
        return 0.0
    total = 0.0
    row, column = (min(max(at, 0.0), size - 1.0) for at, size in zip((row, column), image.shape, strict=True))
    for i, j in itertools.product((math.floor(row), math.floor(row) + 1), (math.floor(column), math.floor(column) + 1)):
        weight = (1 - abs(row - i)) * (1 - abs(column - j))
        total += weight * float(image[i, j]) if weight else 0.0
    return total


# ONNX writes these expected values with four digits.
ROUNDED: Mapping[str, Callable[..., Array]] = {
    "node/test_averagepool_2d_ceil_last_window_starts_on_pad": average_pool,
    "node/test_roialign_aligned_false": roi_align,
    "node/test_roialign_aligned_true": roi_align,
}
