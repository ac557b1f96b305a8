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
    if found.dtype.kind not in "fiub" and found.dtype.name != "bfloat16":
        raise SpecError("this is no array of numbers", received=f"{type(array).__name__} of {found.dtype}")
    return found.astype(np.float32) if found.dtype.name == "bfloat16" else found


def precision_of(array: Any) -> str:
    """The precision that an array's dtype names, or those of several; float32 for integers and plain numbers.

    Raises:
        SpecError: Several that name different ones.
    """
    found = set()
    for item in array.values() if isinstance(array, Mapping) else several(array):
        dtype = getattr(item, "dtype", None)
        found |= {str(getattr(dtype, "name", dtype)).rpartition(".")[2]} & set(FLOATS)
    if len(found) > 1:
        remedy = "say which with precision=, or compare them one by one"
        raise SpecError("arrays of different precisions", received=", ".join(sorted(found)), remedy=remedy)
    return found.pop() if found else "float32"


def several(arrays: Any) -> Sequence[Any]:
    """Arrays in a list or tuple as they are; one array alone in a list."""
    return arrays if isinstance(arrays, list | tuple) else [arrays]


def require_every(given: Mapping[str, Any], names: Sequence[str], what: str) -> None:
    """Raises SpecError where an array is missing, or where all are empty: nothing would be compared.

    Args:
        given: By name.
        names: All.
        what: What errors call them.
    """
    if missing := [name for name in names if name not in given]:
        raise SpecError(f"{what} are missing", received=", ".join(given) or "none", expected=", ".join(missing))
    if not any(array.size for array in given.values()):
        raise SpecError(f"the {what} are empty: there is nothing to compare")


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
