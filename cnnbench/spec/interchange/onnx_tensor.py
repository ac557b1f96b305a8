"""A tensor of an ONNX model as it is known while the model is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cnnbench.spec.graph import Value

Array = NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model as the importer knows it: known, computed, or a running statistic after a training pass.

    Args:
        array: Its elements where they are known.
        value: The graph's value where it is computed.
        state: The full name of the running statistic that it is.
        truth: Whether it stands for booleans: its elements are 0 and 1, in floats where they are computed.
        rows: Whether it stands for a list of the positions and values of its elements that are not negative.
    """

    array: Array | None = None
    value: Value | None = None
    state: str = ""
    truth: bool = False
    rows: bool = False


def known(array: Array) -> Tensor:
    """A tensor whose elements are known."""
    return Tensor(array=array, truth=array.dtype.kind == "b")
