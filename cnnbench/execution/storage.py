"""Host arrays rounded to a precision's storage type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy

Array = NDArray[Any]


def host_dtype(policy: PrecisionPolicy) -> np.dtype[Any]:
    """The dtype of host arrays: float64 for float64, else float32, which holds every narrower type exactly."""
    return np.dtype(np.float64 if policy.storage == "float64" else np.float32)


def to_storage(array: Array, policy: PrecisionPolicy) -> Array:
    """``array`` with each value rounded to the storage type, held in ``host_dtype``; itself where nothing changes."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # what is beyond the type is infinite in it
        if policy.storage == "float16":
            return array.astype(np.float16).astype(np.float32)
        rounded = array.astype(host_dtype(policy), copy=False)
    return _to_bfloat16(rounded) if policy.storage == "bfloat16" else rounded


def _to_bfloat16(array: Array) -> Array:
    """Round to nearest, ties to even, on the upper 16 bits of a float32."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) & np.uint32(0xFFFF0000)
    values = rounded.view(np.float32).reshape(np.shape(array))  # ascontiguousarray makes a scalar an array of one
    return np.where(np.isfinite(array), values, array)


def all_to_storage(arrays: Mapping[str, Array], policy: PrecisionPolicy) -> dict[str, Array]:
    """``to_storage`` of every array."""
    return {name: to_storage(np.asarray(array), policy) for name, array in arrays.items()}
