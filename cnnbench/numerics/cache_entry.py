"""One cache entry: named arrays in one file, followed by a JSON index of their types, shapes and offsets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError

Array = NDArray[Any]
ALIGNMENT = 64  # bytes: of a line in a processor's cache
SMALL = 1 << 16  # bytes: arrays up to this size are read, larger ones are memory-mapped
LENGTH = 8  # bytes of the number at the end of the file: the length of the index


class Stored(NamedTuple):
    """The index's entry for one array: its dtype in NumPy's notation (``<f8``), its shape, and its offset in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class CacheEntry:
    """Named arrays in one file. Small arrays are read, larger ones memory-mapped; all of them are read-only.

    Args:
        path: The file.
        index: Where each array lies; in a file that is being written, the arrays so far.
    """

    path: Path
    index: dict[str, Stored] = field(default_factory=dict, repr=False)

    @staticmethod
    def begun(path: Path) -> CacheEntry:
        """Creates a file without arrays, to be filled by ``write`` and ended by ``close``."""
        path.touch()
        return CacheEntry(path)

    @staticmethod
    def kept(path: Path) -> CacheEntry:
        """Opens a finished file. Raises DataError where it is damaged."""
        found = path.stat()
        return CacheEntry(path, _index(path, found.st_ino, found.st_size))

    def write(self, name: str, array: Array) -> None:
        """Appends an array of numbers or text. Raises TypeError for an array of Python objects."""
        values = np.asarray(array)
        if values.dtype.hasobject:
            raise TypeError(f"{name}: an array of objects cannot be kept")
        with self.path.open("ab") as file:
            file.write(bytes(-file.tell() % ALIGNMENT))
            self.index[name] = Stored(values.dtype.str, values.shape, file.tell())
            values.tofile(file) if values.flags.c_contiguous else file.write(values.tobytes())

    def close(self) -> None:
        """Writes the index, which finishes the file."""
        text = json.dumps(self.index).encode()
        with self.path.open("ab") as file:
            file.write(text + len(text).to_bytes(LENGTH, "little"))

    def read(self, name: str) -> Array:
        """The array of that name. Raises DataError where the file is damaged or was removed."""
        try:
            stored = self.index[name]
            dtype = np.dtype(stored.dtype)
            num_bytes = dtype.itemsize * int(np.prod(stored.shape, dtype=np.int64))
            if num_bytes > SMALL:
                return np.memmap(self.path, dtype, "r", stored.offset, stored.shape)
            data = _bytes(self.path, stored.offset, num_bytes)
            return np.ndarray(stored.shape, dtype, data)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise _damaged(self.path, error) from error

    def has(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return name in self.index


def _bytes(path: Path, offset: int, num_bytes: int) -> bytes:
    found = path.stat()
    if found.st_size <= SMALL:
        return _whole(path, found.st_ino, found.st_size)[offset : offset + num_bytes]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(num_bytes)


# The inode and the size distinguish a file from one that replaced it. Even if both are reused, the result is right:
# the path contains the digest of the content.
@lru_cache(maxsize=32)
def _whole(path: Path, inode: int, num_bytes: int) -> bytes:
    return path.read_bytes()


@lru_cache(maxsize=32)
def _index(path: Path, inode: int, num_bytes: int) -> dict[str, Stored]:
    try:
        with path.open("rb") as file:
            return {name: _stored(values) for name, values in json.loads(_last(file, num_bytes)).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _last(file: BinaryIO, num_bytes: int) -> bytes:
    """The bytes of the index. Raises ValueError where the file is truncated."""
    file.seek(max(0, num_bytes - LENGTH))
    length = int.from_bytes(file.read(LENGTH), "little")
    if length > num_bytes - LENGTH:
        raise ValueError(f"it ends after {num_bytes} bytes, and its index is not there")
    file.seek(num_bytes - LENGTH - length)
    return file.read(length)


def _stored(values: Sequence[Any]) -> Stored:
    dtype, shape, offset = values
    return Stored(dtype, tuple(shape), offset)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"the cached oracle is damaged: {error}", where=str(path), remedy="remove the file")
