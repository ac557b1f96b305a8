"""The oracle cache: a folder of limited size in which exact results and envelopes are kept, by digest."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cnnbench.measurement.clock import utc_ms
from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.cache_size import DEFAULT_BYTES, cache_bytes

FOLDER_VARIABLE = "CNNBENCH_CACHE"
RECOUNT = 256
PARTIAL = ".partial-"  # and the number of the process that fills it
NEWLY_USED_S = 60.0
_TALLIES: dict[Path, tuple[int, int]] = {}  # by folder: bytes, and entries since all of them were counted


@dataclass(frozen=True)
class Cache:
    """Cache entries by key. Beyond ``limit_bytes`` in total, the least recently used are removed.

    Args:
        folder: The folder with one file for each entry.
        limit_bytes: The largest total size.
    """

    folder: Path
    limit_bytes: int = DEFAULT_BYTES

    @staticmethod
    def of_user() -> Cache:
        """The user's cache: ``$CNNBENCH_CACHE`` or ``~/.cache/cnnbench``, up to ``$CNNBENCH_CACHE_BYTES`` (8 GiB).

        Where that folder cannot be written (no home, no user name, a read-only disk), a temporary folder is used. It is
        removed when this process ends, and shared by the processes that this one starts.

        Raises:
            SuiteError: ``$CNNBENCH_CACHE_BYTES`` is not a number of bytes.
        """
        limit_bytes = cache_bytes()
        folder = _folder_of_user()
        if folder is None or not _is_writable(folder):
            folder = _folder_of_process()
            os.environ[FOLDER_VARIABLE] = str(folder.parent)
        return Cache(folder, limit_bytes)

    def entry(self, key: str, fill: Callable[[CacheEntry], None]) -> CacheEntry:
        """The entry of a key. A missing one is filled and then added atomically.

        An entry that cannot be written to the folder is made in a temporary folder of this process.

        Args:
            key: Digest of what the entry is computed from.
            fill: Writes the arrays of a new entry.
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
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self.folder, prefix=f"{PARTIAL}{os.getpid()}-")
            os.close(number)
            partial = CacheEntry(Path(name))
            try:
                fill(partial)
                partial.close()
                partial.path.replace(path)  # another process that was faster had the same content
            finally:
                partial.path.unlink(missing_ok=True)
            self._account(path)
        _say_used(path)
        return CacheEntry.kept(path)

    def sweep(self, pid: int) -> None:
        """Removes the unfinished entries of a process that was killed."""
        for path in self.folder.glob(f"{PARTIAL}{pid}-*"):
            path.unlink(missing_ok=True)

    def _account(self, path: Path) -> None:
        """Adds a new entry to the estimated total, and trims the folder where the total may exceed the limit.

        The folder's real size is read only then, and after every ``RECOUNT`` entries to see what other processes added:
        reading the sizes of thousands of small entries takes longer than making one.
        """
        total, since = _TALLIES.get(self.folder, (0, RECOUNT))
        total, since = total + size_of(path), since + 1
        if total > self.limit_bytes or since > RECOUNT:
            total, since = self._trim(keep=path), 0
        _TALLIES[self.folder] = (total, since)

    def _trim(self, keep: Path) -> int:
        """Removes the least recently used entries beyond the limit, and returns the bytes that are left."""
        entries = sorted(((_used(path), path) for path in self.folder.iterdir()), key=lambda entry: entry[0])
        sizes = {path: size_of(path) for _, path in entries}
        total = sum(sizes.values())
        for _, path in entries:
            if total <= self.limit_bytes:
                break
            if path != keep and not is_partial(path):
                remove(path)
                total -= sizes[path]
        return total


def is_partial(path: Path) -> bool:
    """Whether an entry is only half there: a process fills it, or was stopped while it did."""
    return path.name.startswith(PARTIAL)


def filled_by(path: Path) -> int | None:
    """The number of the process that fills an entry; None for one that is whole, or whose name does not tell."""
    found = re.fullmatch(rf"{re.escape(PARTIAL)}(\d+)-.*", path.name)
    return None if found is None else int(found[1])


def size_of(path: Path) -> int:
    """Bytes of an entry: a file, or a folder as older versions wrote; 0 where another process has just removed it."""
    try:
        return path.stat().st_size if path.is_file() else sum(size_of(part) for part in path.iterdir())
    except OSError:
        return 0


def remove(path: Path) -> None:
    """Removes an entry, a file or a folder; no error where another process has just removed it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _folder_of_user() -> Path | None:
    """The folder of the user's cache; None where the user has no known home folder."""
    chosen, home = os.environ.get(FOLDER_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen or Path(home or Path.home() / ".cache") / "cnnbench") / "oracle"
    except RuntimeError:
        return None


@cache
def _is_writable(folder: Path) -> bool:
    """Whether entries can be made in a folder; tried once in each process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(dir=folder, prefix=f"{PARTIAL}{os.getpid()}-")).rmdir()
    except OSError:
        return False
    return True


@cache
def _folder_of_process() -> Path:
    """A temporary cache for this process and those that it starts; removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"cnnbench-oracle-{os.getpid()}-"))
    atexit.register(_remove, folder, os.getpid())
    return folder / "oracle"


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _say_used(path: Path) -> None:
    """Sets an entry's time of use, at most once a minute, because every array that is read asks for its entry."""
    with contextlib.suppress(OSError):  # it is another user's, or the disk has become read-only
        if utc_ms() / 1000 - path.stat().st_mtime > NEWLY_USED_S:
            os.utime(path)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
