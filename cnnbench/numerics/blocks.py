"""Large arrays block by block, so that what is computed of them in float64 is never as large as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BLOCK = 2**20  # elements: 8 MiB of float64


def blocks(size: int) -> Iterator[slice]:
    """Slices of at most ``BLOCK`` elements that cover so many, in order."""
    return (slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK))


def flat(array: Array, shape: Sequence[int]) -> Array:
    """An array as if broadcast to a shape and flattened; a view where it has that shape or one element."""
    if array.shape == tuple(shape):
        return array.reshape(-1)
    if array.size == 1:
        return np.broadcast_to(array.reshape(()), (int(np.prod(shape)),))
    return np.broadcast_to(array, shape).reshape(-1)


def largest_of(array: Array) -> float:
    """The largest magnitude; NaN where there is one, 0 of no elements."""
    return _largest(np.abs(array.reshape(-1)[block]) for block in blocks(array.size))


def largest_difference(got: Array, exact: Array) -> float:
    """The largest |got - exact| in float64, as ``largest_of`` has it."""
    ours, right = np.asarray(got).reshape(-1), flat(np.asarray(exact), np.shape(got))
    pairs = ((ours[block].astype(np.float64), right[block]) for block in blocks(ours.size))
    return _largest(np.abs(mine - other) for mine, other in pairs)


def finite_difference(got: Array, exact: Array) -> float:
    """As ``largest_difference``, without the elements where neither is finite: they have left the range alike."""

    def apart(mine: Array, right: Array) -> float:
        with np.errstate(invalid="ignore"):
            gap = np.abs(mine.astype(np.float64) - right)
        return float(np.max(gap, where=np.isfinite(right) | np.isfinite(mine), initial=0.0))

    ours, theirs = got.reshape(-1), exact.reshape(-1)
    return float(np.max([apart(ours[block], theirs[block]) for block in blocks(ours.size)], initial=0.0))


def _largest(parts: Iterator[Array]) -> float:
    return float(np.max([part.max() for part in parts], initial=0.0))
