"""Arrays of any framework as host arrays, without importing one: they are asked for what they offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

FLOATS = ("float64", "float32", "bfloat16", "float16")


def host_array(array: Any) -> Array:
    """An array of any framework on the host: bfloat16 widened to float32, everything else in its own type."""
    import numpy as np

    if hasattr(array, "detach"):  # PyTorch
        array = array.detach().cpu()
        array = array.float() if str(array.dtype).endswith("bfloat16") else array
        return np.asarray(array.numpy())
    found = np.asarray(array)  # JAX and TensorFlow give themselves over
    return found.astype(np.float32) if found.dtype.name == "bfloat16" else found


def precision_of(array: Any) -> str:
    """The precision that an array's dtype names, or those of several; float32 for integers and plain numbers."""
    item = next(iter(array.values() if isinstance(array, Mapping) else several(array)), None)
    dtype = getattr(item, "dtype", None)
    name = str(getattr(dtype, "name", dtype)).rpartition(".")[2]
    return name if name in FLOATS else "float32"


def several(arrays: Any) -> Sequence[Any]:
    """Arrays in a list or tuple as they are; one array alone in a list."""
    return arrays if isinstance(arrays, list | tuple) else [arrays]


def named(arrays: Any, names: Sequence[str], what: str) -> dict[str, Array]:
    """Host arrays by name. A single array of a network with several outputs is the first of them.

    Args:
        arrays: One, several in order, or by name.
        names: In order.
        what: What errors call them: ``inputs``, ``outputs``.

    Raises:
        SpecError: An unknown name, or more arrays than names.
    """
    if isinstance(arrays, Mapping):
        if unknown := [name for name in arrays if name not in names]:
            raise SpecError(f"unknown {what}", received=", ".join(map(str, unknown)), expected=", ".join(names))
        return {name: host_array(array) for name, array in arrays.items()}
    given = several(arrays)
    if len(given) > len(names):
        raise SpecError(f"more {what} than the network has", received=len(given), expected=", ".join(names))
    return dict(zip(names, map(host_array, given), strict=False))
