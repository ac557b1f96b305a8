"""The number of threads of the BLAS that NumPy was built on, asked and set through its own functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

_FOLDERS = ("../numpy.libs", ".dylibs")
_SYMBOLS = (  # the names that OpenBLAS builds give to one function
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
)


@dataclass(frozen=True)
class Threads:
    """The two functions of a BLAS."""

    set: Callable[[int], None]
    get: Callable[[], int]


@cache
def threads() -> Threads | None:
    """The functions of the OpenBLAS in NumPy's wheel; None for another BLAS, which obeys only its own variables."""
    base = Path(np.__file__).parent
    for library in (path for folder in _FOLDERS for path in sorted((base / folder).glob("*openblas*"))):
        loaded = ctypes.CDLL(str(library))
        for setter, getter in _SYMBOLS:
            if hasattr(loaded, setter) and hasattr(loaded, getter):
                function = getattr(loaded, setter)
                function.argtypes, function.restype = [ctypes.c_int], None
                return Threads(function, getattr(loaded, getter))
    return None


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within it each product stays on the thread that asks for it, where this BLAS can be told so.

    OpenBLAS splits a product over threads that spin at a barrier; where another process holds a processor, a product
    of a millisecond then takes a scheduler's slice of sixteen. Its bits may depend on the number of threads, too.
    """
    functions = threads()
    if functions is None:
        yield
        return
    before = functions.get()
    functions.set(1)
    try:
        yield
    finally:
        functions.set(before)
