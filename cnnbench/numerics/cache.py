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
        """Removes what a process that was killed had begun to fill."""
        for path in self.folder.glob(f"{PARTIAL}{pid}-*"):
            path.unlink(missing_ok=True)

    def _account(self, path: Path) -> None:
        """Counts a new entry in; measures the whole folder only when the count says that it may be too large.

        A folder of thousands of small entries takes longer to measure than an entry to make. What other processes
        add is seen after ``RECOUNT`` entries at the latest.
        """
        total, since = _TALLIES.get(self.folder, (0, RECOUNT))
        total, since = total + size_of(path), since + 1
        if total > self.limit_bytes or since > RECOUNT:
            total, since = self._trim(keep=path), 0
        _TALLIES[self.folder] = (total, since)

    def _trim(self, keep: Path) -> int:
        """Removes the least recently used entries beyond the limit; gives the bytes that are left."""
        entries = sorted(((_used(path), path) for path in self.folder.iterdir()), key=lambda entry: entry[0])
        sizes = {path: size_of(path) for _, path in entries}
        total = sum(sizes.values())
        for _, path in entries:
            if total <= self.limit_bytes:
                break
            if path != keep and not path.name.startswith(PARTIAL):
                remove(path)
                total -= sizes[path]
        return total


def size_of(path: Path) -> int:
    """Bytes of a file, or of all below a folder (as entries once were); 0 for one that has just been removed."""
    try:
        return path.stat().st_size if path.is_file() else sum(size_of(part) for part in path.iterdir())
    except OSError:
        return 0


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that it holds; one that another process has just removed is no error."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


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


def _say_used(path: Path) -> None:
    """Notes that an entry was used, once a minute: it is asked for once for each array that is read."""
    with contextlib.suppress(OSError):  # it is another user's, or the disk has become read-only
        if utc_ms() / 1000 - path.stat().st_mtime > NEWLY_USED_S:
            os.utime(path)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
