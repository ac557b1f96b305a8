"""A tensor of an ONNX model as it is known while the model is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import BATCHES, shape_of
from cnnbench.spec.layers import Shape

Array = NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model as the importer knows it: known, known for each batch size, or computed.

    Args:
        array: Its elements where they are known.
        value: The graph's value where it is computed.
        truth: Whether it stands for booleans: its elements are 0 and 1, in floats where they are computed.
        rows: Whether it stands for a list of the positions and values of its elements that are not negative.
        by_batch: Its elements for each of ``BATCHES``, where they depend on nothing but the batch size.
    """

    array: Array | None = None
    value: Value | None = None
    truth: bool = False
    rows: bool = False
    by_batch: tuple[Array, ...] | None = None

    @property
    def arrays(self) -> tuple[Array, ...] | None:
        """The elements for each of ``BATCHES``; None where they are computed."""
        return self.by_batch if self.array is None else (self.array,) * len(BATCHES)

    @property
    def shape(self) -> Shape:
        """The shape; its sizes may depend on the batch."""
        arrays = self.arrays
        if arrays is not None:
            return shape_of([array.shape for array in arrays])
        return () if self.value is None else self.value.shape

    @property
    def kind(self) -> str:
        """``f`` for floats, ``i`` for integers, ``b`` for booleans."""
        arrays = self.arrays
        if arrays is not None:
            kind = arrays[0].dtype.kind
            return "i" if kind == "u" else kind
        if self.truth:
            return "b"
        return "i" if self.value is not None and self.value.dtype == "int" else "f"


def known(array: Array) -> Tensor:
    """A tensor whose elements are known. bfloat16 is widened to float32, which holds each of its numbers."""
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    return Tensor(array=array, truth=array.dtype.kind == "b")


def known_by_batch(arrays: Sequence[Array]) -> Tensor:
    """A tensor from its elements for each of ``BATCHES``."""
    first = arrays[0]
    if all(other is first or (other.shape == first.shape and np.array_equal(other, first)) for other in arrays[1:]):
        return known(first)
    widened = tuple(known(array).arrays or () for array in arrays)
    return Tensor(by_batch=tuple(item[0] for item in widened), truth=first.dtype.kind == "b")
