"""Expected values computed here where ONNX's own are rounded: plain loops over the definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def average_pool(proto: Any, x: Array) -> Array:
    """AveragePool by the words of its specification: what a window sees of the input and, if asked, of its padding."""
    from onnx import helper

    fields = {item.name: helper.get_attribute_value(item) for item in proto.attribute}
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


# ONNX writes these expected values with four digits.
ROUNDED: Mapping[str, Callable[[Any, Array], Array]] = {
    "node/test_averagepool_2d_ceil_last_window_starts_on_pad": average_pool
}
