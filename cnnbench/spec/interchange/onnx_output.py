"""An output of an imported model: where its elements come from, and in which dtype the model has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnbench.spec.interchange.onnx_tensor import Array


@dataclass(frozen=True)
class OnnxOutput:
    """An output of the model.

    Args:
        name: Its name in the model.
        dtype: Its NumPy dtype in the model.
        source: The graph's output that holds it; "" where ``array`` does.
        array: Its elements where nothing needs to be computed for them.
        truth, rows: As of a ``Tensor``.
    """

    name: str
    dtype: np.dtype[Any]
    source: str = ""
    array: Array | None = None
    truth: bool = False
    rows: bool = False

    def in_width(self, array: Array) -> Array:
        """The backend's array in the model's dtype: another width of its kind of numbers, integers that floats
        held, or booleans; never more.
        """
        if self.rows:
            array = self.cut(array)
        if self.truth:
            return array.astype(bool)
        floats = array.dtype.kind == "f"
        if floats and self.dtype.kind in "iu" and np.array_equal(array, np.rint(array)):  # integers that floats held
            return array.astype(self.dtype)
        return array.astype(self.dtype) if floats == (self.dtype.kind in "fV") and self.dtype.kind != "b" else array

    def cut(self, array: Array) -> Array:
        """The rows (position, value) of the elements that are not negative."""
        rows = np.argwhere(array >= 0)
        rows[:, -1] = array[array >= 0]
        return rows
