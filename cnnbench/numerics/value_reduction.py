"""The plainest values on which a network still fails: zeros, ones and whole numbers wherever they will do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TRIES = 100


def reduce_values(
    arrays: Mapping[str, Array], still_fails: Callable[[Mapping[str, Array]], bool], *, tries: int = TRIES
) -> dict[str, Array]:
    """The arrays with as many plain values as possible: zeros, then ones, then whole numbers, in ever smaller parts.

    Args:
        arrays: By name; integers stay as they are.
        still_fails: Whether other arrays of the same shapes fail in the same way.
        tries: How often it may be asked.
    """
    best = dict(arrays)
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        for plain in (np.zeros_like(array), np.ones_like(array), np.round(array)):
            candidate = {**best, name: plain}
            if tries > 0 and not np.array_equal(plain, best[name]):
                tries -= 1
                if still_fails(candidate):
                    best = candidate
                    break
    for name in best:
        tries = _zeros_in_parts(best, name, still_fails, tries)
    return best


def _zeros_in_parts(
    best: dict[str, Array], name: str, still_fails: Callable[[Mapping[str, Array]], bool], tries: int
) -> int:
    """Sets halves, quarters ... of an array to zero where it still fails; how many tries are left."""
    array = best[name]
    if array.dtype.kind != "f" or array.size < 2:
        return tries
    size = array.size // 2
    while size >= 1 and tries > 0:
        for start in range(0, array.size, size):
            flat = np.array(best[name]).reshape(-1)
            if tries <= 0 or not flat[start : start + size].any():
                continue
            flat[start : start + size] = 0
            tries -= 1
            if still_fails({**best, name: flat.reshape(array.shape)}):
                best[name] = flat.reshape(array.shape)
        size //= 2
    return tries
