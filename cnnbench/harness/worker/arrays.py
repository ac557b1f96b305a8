"""Arrays between processes: safetensors files that are written without a copy and read by mapping them."""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_NAMES = {code: name for name, code in _DTYPES.items()}
_ALIGNMENT = 64


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Writes host arrays as safetensors. Raises DataError for a dtype that the format has no name for."""
    import numpy as np

    header: dict[str, Any] = {}
    offset = 0
    # Wide types first, so that every array lies on a multiple of its item's size; the format allows no gaps.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in order}
    for name, array in contiguous.items():
        if array.dtype.name not in _DTYPES:
            raise DataError(f"array {name!r} has a dtype that cannot be sent", received=array.dtype.name)
        entry = {"dtype": _DTYPES[array.dtype.name], "shape": list(arrays[name].shape)}
        header[name] = entry | {"data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in contiguous.values():
            file.write(array.reshape(-1).view(np.uint8).data)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file as views of a private mapping, which lives as long as they do.

    Writing to them changes no file. A mapping's pages leave the process with it, so that reading does not raise its
    resident memory for good.
    Raises DataError where the file is not whole.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        (length,) = struct.unpack_from("<Q", mapping)
        header = json.loads(mapping[8 : 8 + length])
        header.pop("__metadata__", None)
        return {
            name: np.frombuffer(
                mapping,
                np.dtype(_NAMES[entry["dtype"]]),
                math.prod(entry["shape"]),
                8 + length + entry["data_offsets"][0],
            ).reshape(entry["shape"])
            for name, entry in header.items()
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error) as error:
        raise DataError(f"the arrays cannot be read: {error}", where=str(path)) from None
