"""Sliding windows as a loop over kernel taps: each tap sees one strided slice of the padded input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import Shape, Window

Array = NDArray[Any]
Pairs = tuple[tuple[int, int], ...]
Tap = tuple[int, ...]
Slices = tuple[slice, ...]


def reach(spatial: Shape, padding: Pairs, window: Window, out: Shape) -> Pairs:
    """The padding, its end grown where the last window of ``ceil_mode`` reaches further.

    Args:
        spatial: The input's spatial sizes.
        padding: (begin, end) of each of them.
        window: That slides over the input.
        out: The output's spatial sizes.
    """
    pairs = []
    for axis, (begin, end) in enumerate(padding):
        last = (out[axis] - 1) * window.stride[axis] + window.dilation[axis] * (window.kernel_size[axis] - 1) + 1
        pairs.append((begin, max(end, last - spatial[axis] - begin)))
    return tuple(pairs)


def pad_spatial(x: Array, padding: Pairs, value: float = 0.0) -> Array:
    """(N, C, *spatial) surrounded by ``value``.

    Args:
        x: (N, C, *spatial).
        padding: (begin, end) of each spatial axis, none negative.
        value: Of the border.
    """
    if not any(map(any, padding)):
        return x
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)


def crop_spatial(x: Array, padding: Pairs, spatial: Shape) -> Array:
    """What ``pad_spatial`` surrounded.

    Args:
        x: (N, C, *padded).
        padding: As ``pad_spatial`` had it.
        spatial: The sizes before.
    """
    inside = tuple(slice(begin, begin + size) for (begin, _), size in zip(padding, spatial, strict=True))
    return x[(slice(None), slice(None), *inside)]


def at(position: Tap) -> tuple[Any, ...]:
    """The index of one spatial position (or kernel position) over the first two axes."""
    return (slice(None), slice(None), *position)


def taps(window: Window, out: Shape) -> Iterator[tuple[Tap, Slices]]:
    """Each kernel position k in row-major order, with the slices of the padded input that it meets: p s + k d."""
    for tap in np.ndindex(*window.kernel_size):
        slices = tuple(
            slice(k * d, k * d + (count - 1) * s + 1, s)
            for k, d, s, count in zip(tap, window.dilation, window.stride, out, strict=True)
        )
        yield tap, (slice(None), slice(None), *slices)
