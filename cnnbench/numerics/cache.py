"""A size-limited folder of the user's in which oracles keep their arrays, by digest."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.numerics.cache_size import DEFAULT_BYTES, cache_bytes

Array = NDArray[Any]
FOLDER_VARIABLE = "CNNBENCH_CACHE"
RECOUNT = 256
_TALLIES: dict[Path, tuple[int, int]] = {}  # by folder: bytes, and entries since all of them were counted


@dataclass(frozen=True)
class CacheEntry:
    """One oracle's arrays, each a ``.npy`` file that is read memory-mapped."""

    folder: Path

    def write(self, name: str, array: Array) -> None:
        """Stores an array."""
        np.save(self._path(name), np.asarray(array), allow_pickle=False)

    def read(self, name: str) -> Array:
        """An array, mapped and not copied. Raises DataError where the file is damaged."""
        try:
            array: Array = np.load(self._path(name), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the cached oracle is damaged: {error}", where=str(self.folder), remedy="remove the folder"
            ) from error
        return array

    def has(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


@dataclass(frozen=True)
class Cache:
    """Entries by key; the least recently used go when all together are larger than ``limit_bytes``."""

    folder: Path
    limit_bytes: int = DEFAULT_BYTES

    @staticmethod
    def of_user() -> Cache:
        """``$CNNBENCH_CACHE`` or ``~/.cache/cnnbench``, up to ``$CNNBENCH_CACHE_BYTES`` (8 GiB).

        Where it cannot be written (no home, a user without a name, a read-only disk) a folder of this process stands in
        for it; processes that are started later share it.

        Raises:
            SuiteError: ``$CNNBENCH_CACHE_BYTES`` is no number of bytes.
        """
        limit_bytes = cache_bytes()
        folder = _folder_of_user()
        if folder is None or not _is_writable(folder):
            folder = _folder_of_process()
            os.environ[FOLDER_VARIABLE] = str(folder.parent)
        return Cache(folder, limit_bytes)

    def entry(self, key: str, fill: Callable[[CacheEntry], None]) -> CacheEntry:
        """The entry of that key, which ``fill`` makes where it is not there yet: whole or not at all.

        What cannot be written here is made in a folder of this process.
        """
        try:
            return self._entry(key, fill)
        except OSError:
            own = _folder_of_process()
            if self.folder == own:
                raise
            return Cache(own, self.limit_bytes)._entry(key, fill)

    def _entry(self, key: str, fill: Callable[[CacheEntry], None]) -> CacheEntry:
        path = self.folder / key
        if not path.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".partial-{os.getpid()}-"))
            try:
                fill(CacheEntry(partial))
                self._adopt(partial, path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            self._account(path)
        with contextlib.suppress(OSError):  # it is another user's, or the disk has become read-only
            os.utime(path)
        return CacheEntry(path)

    def sweep(self, pid: int) -> None:
        """Removes what a process that was killed had begun to fill."""
        for path in self.folder.glob(f".partial-{pid}-*"):
            shutil.rmtree(path, ignore_errors=True)

    @staticmethod
    def _adopt(partial: Path, path: Path) -> None:
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():  # else another process was faster with the same content
                raise

    def _account(self, path: Path) -> None:
        """Counts a new entry in; measures the whole folder only when the count says that it may be too large.

        A folder of thousands of small entries takes longer to measure than an entry to make. What other processes
        add is seen after ``RECOUNT`` entries at the latest.
        """
        total, since = _TALLIES.get(self.folder, (0, RECOUNT))
        total, since = total + _size(path), since + 1
        if total > self.limit_bytes or since > RECOUNT:
            total, since = self._trim(keep=path), 0
        _TALLIES[self.folder] = (total, since)

    def _trim(self, keep: Path) -> int:
        """Removes the least recently used entries beyond the limit; gives the bytes that are left."""
        entries = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=lambda p: _used(p))
        sizes = {path: _size(path) for path in entries}
        total = sum(sizes.values())
        for path in entries:
            if total <= self.limit_bytes:
                break
            if path != keep and not path.name.startswith(".partial-"):
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes.get(path, 0)
        return total


def _folder_of_user() -> Path | None:
    """Where the user's cache is to be; None where nothing says which home is theirs."""
    chosen, home = os.environ.get(FOLDER_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen or Path(home or Path.home() / ".cache") / "cnnbench") / "oracle"
    except RuntimeError:
        return None


@cache
def _is_writable(folder: Path) -> bool:
    """Whether entries can be made in a folder, tried once a process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(dir=folder, prefix=f".partial-{os.getpid()}-")).rmdir()
    except OSError:
        return False
    return True


@cache
def _folder_of_process() -> Path:
    """A cache for this process and those that it starts; removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"cnnbench-oracle-{os.getpid()}-"))
    atexit.register(_remove, folder, os.getpid())
    return folder / "oracle"


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _size(path: Path) -> int:
    """Bytes of an entry's files; 0 for one that another process has just removed."""
    try:
        return sum(file.stat().st_size for file in path.iterdir())
    except OSError:
        return 0


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
