"""One oracle's arrays in one file: their bytes one after another, then where each begins."""

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
SMALL = 1 << 16  # bytes: what is read at once, where more is mapped
LENGTH = 8  # bytes: of the number at the end, which says how long the index is


class Stored(NamedTuple):
    """Where an array lies in the file: its type as NumPy writes it (``<f8``), its shape, and its first byte."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class CacheEntry:
    """Arrays by name. Small ones are copies, larger ones are mapped; neither can be written to.

    Args:
        path: The file.
        index: Where each array lies: those of a whole file, or those that were written so far.
    """

    path: Path
    index: dict[str, Stored] = field(default_factory=dict, repr=False)

    @staticmethod
    def begun(path: Path) -> CacheEntry:
        """A file without arrays, to be filled and closed."""
        path.touch()
        return CacheEntry(path)

    @staticmethod
    def kept(path: Path) -> CacheEntry:
        """A file that was closed. Raises DataError where it is damaged."""
        found = path.stat()
        return CacheEntry(path, _index(path, found.st_ino, found.st_size))

    def write(self, name: str, array: Array) -> None:
        """Stores an array of numbers or text after those that are there."""
        values = np.asarray(array)
        if values.dtype.hasobject:
            raise TypeError(f"{name}: an array of objects cannot be kept")
        with self.path.open("ab") as file:
            file.write(bytes(-file.tell() % ALIGNMENT))
            self.index[name] = Stored(values.dtype.str, values.shape, file.tell())
            values.tofile(file) if values.flags.c_contiguous else file.write(values.tobytes())

    def close(self) -> None:
        """Writes the index, after which the file is whole."""
        text = json.dumps(self.index).encode()
        with self.path.open("ab") as file:
            file.write(text + len(text).to_bytes(LENGTH, "little"))

    def read(self, name: str) -> Array:
        """An array by its name. Raises DataError where the file is damaged or has gone."""
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


# Files by what tells one from another that took its place. An inode's number may come again, the size with it: a key
# names content, so that the arrays would be the same.
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
    """The index's text."""
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
