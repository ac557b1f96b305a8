"""Other inputs and weights of the same shapes, for calls between those that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.case import Case

Array = NDArray[Any]


def rotated(case: Case, batch: Mapping[str, Array]) -> dict[str, Array]:
    """The same images, each one place on; of a single image, or where none is batched, its values in reverse.

    What a batch holds besides inputs, such as targets, stays.
    """
    inputs = {item.name for item in case.graph.inputs}
    batched = {item.name for item in case.graph.inputs if item.batched}
    if case.size > 1 and batched:
        return {name: np.roll(array, 1, axis=0) if name in batched else array for name, array in batch.items()}
    return {name: in_reverse(array) if name in inputs else array for name, array in batch.items()}


def in_reverse(array: Array) -> Array:
    """The same values from the last to the first."""
    return np.array(array.reshape(-1)[::-1].reshape(array.shape), order="C")  # a single number keeps its shape ()
