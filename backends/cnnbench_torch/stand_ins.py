"""What is read in place of classes that training scripts leave in checkpoints beside the weights: plain values.

``torch.load(weights_only=True)`` refuses every class that it does not know. These are known here by their names
alone: what is made for them is a value of ours, so that no code of the class, nor of NumPy, runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")


class DType:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code.decode() if isinstance(code, bytes) else str(code)
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
        self.order = order.decode() if isinstance(order, bytes) else str(order)

    def array(self, data: Any, shape: tuple[int, ...]) -> Any:
        """The numbers in ``data``; None where they are no plain numbers or not as many as the shape says."""
        data = data.encode("latin1") if isinstance(data, str) else data
        if self.code not in _NUMBERS or not isinstance(data, bytes | bytearray):
            return None
        dtype = np.dtype(self.code).newbyteorder(">" if self.order == ">" else "<")
        if len(data) != math.prod(shape) * dtype.itemsize:
            return None
        return np.frombuffer(bytes(data), dtype).reshape(shape).astype(dtype.newbyteorder("="))


class Array:
    """Stands for a NumPy array; ``value`` is None where it holds no plain numbers."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, DType) or not all(isinstance(size, int) and size >= 0 for size in shape):
            return
        found = dtype.array(data, tuple(shape))
        if found is not None and fortran:
            found = found.reshape(tuple(shape)[::-1]).T
        self.value = found


class Left:
    """Stands for an object of options, which is left unread."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def scalar(dtype: Any, data: Any = b"") -> Any:
    """A NumPy scalar as an array of no axes."""
    return dtype.array(data, ()) if isinstance(dtype, DType) else None


def reconstruct(*_: Any) -> Array:
    """An array that is yet to get its values."""
    return Array()


_OPTIONS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "datetime.datetime",
    "datetime.timedelta",
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows", "")),
    *(f"{module}.Pure{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")),
)
_DICTS = (
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (DType, "numpy.dtype"),
    (Array, "numpy.ndarray"),
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((Left, name) for name in _OPTIONS),
    *((dict, name) for name in _DICTS),
]
