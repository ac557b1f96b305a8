"""Resident memory of this process, its high-water mark reset and read, and the memory that there is left."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from cnnbench.measurement.observation import descendants

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
RESET_PEAK = "5"  # proc(5): resets VmHWM to the current resident size


def reset_peak() -> bool:
    """Sets the high-water mark to what is resident now, here and of children; False where the kernel offers no way."""
    try:
        _CLEAR.write_text(RESET_PEAK, encoding="utf-8")
    except OSError:
        return False
    for child in descendants(os.getpid()):
        with suppress(OSError):
            Path(f"/proc/{child}/clear_refs").write_text(RESET_PEAK, encoding="utf-8")
    return True


def peak_bytes() -> int | None:
    """The high-water mark of resident memory since ``reset_peak``; None where the kernel does not tell.

    ``getrusage`` would not do: a child's ``ru_maxrss`` starts at its parent's peak.
    """
    return _status("VmHWM")


def children_bytes() -> int:
    """Private memory of all processes that this one has started, and of theirs, at its most since ``reset_peak``.

    What is shared (a parent's pages after a fork, libraries) is not counted twice: of each process its private pages
    count, and as much more as its high-water mark lies above what it has resident. 0 where the kernel does not tell.
    """
    total = 0
    for child in descendants(os.getpid()):
        try:
            private = _lines(Path(f"/proc/{child}/smaps_rollup"))
            status = _lines(Path(f"/proc/{child}/status"))
        except OSError:  # it has ended, or belongs to someone else
            continue
        total += private.get("Private_Clean", 0) + private.get("Private_Dirty", 0)
        total += max(0, status.get("VmHWM", 0) - status.get("VmRSS", 0))
    return total


class ChildrenWatch:
    """Within it, the most that ``children_bytes`` was: of processes that end before it, too.

    Attributes:
        most_bytes: So far.
    """

    def __init__(self, step_s: float = 0.005) -> None:
        self.most_bytes = 0
        self._step_s = step_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="children", daemon=True)

    def _watch(self) -> None:
        while True:
            last = self._ended.wait(self._step_s)
            self.most_bytes = max(self.most_bytes, children_bytes())
            if last:
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


class PeakWatch:
    """Within it, by how much the resident memory of this process and its children rose above what it was at first.

    Attributes:
        peak_bytes: That rise at its most, once it has ended; None where the kernel does not tell.
    """

    def __init__(self) -> None:
        self.peak_bytes: int | None = None
        self._children = ChildrenWatch(step_s=0.25)  # their own peaks are kept by the kernel, while they live

    def __enter__(self) -> Self:
        release_free_memory()
        self._first = resident_bytes() if reset_peak() else None
        self._first_of_children = children_bytes()
        self._children.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        most = peak_bytes()
        self._children.__exit__(*raised)
        if most is not None and self._first is not None:
            risen = self._children.most_bytes - self._first_of_children
            self.peak_bytes = max(0, most - self._first + risen)


def _lines(path: Path) -> dict[str, int]:
    """Bytes by name, of a file with lines ``Name: 12 kB``."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0]) * 1024
    return found


def resident_bytes() -> int | None:
    """What is resident now; None where the kernel does not tell."""
    return _status("VmRSS")


def unavailable() -> str | None:
    """Why memory cannot be measured here, or None."""
    if peak_bytes() is None:
        return f"{sys.platform} does not tell a process's peak resident memory"
    if not reset_peak():
        return f"{_CLEAR} cannot be written, so the peak cannot be reset"
    return None


def release_free_memory() -> None:
    """Collects garbage and hands freed heap pages back, so that what is resident is what is held."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # not glibc
        return


def available_bytes(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """What can still be allocated: on the machine, or less where a control group of this process has a limit.

    What is in use of a group's limit counts without its inactive page cache, which the kernel gives back.

    Args:
        groups: Where control groups are mounted.
        membership: The file with those of this process, as in cgroups(7).
    """
    import psutil

    return min([int(psutil.virtual_memory().available), *_left_in_groups(groups, membership)])


def _left_in_groups(groups: Path, membership: Path) -> Iterator[int]:
    """For each group of this process with a limit, and for those around it: what is left."""
    lines: list[str] = []
    with suppress(OSError):
        lines = membership.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if not controllers:  # version 2
            mount, limit, used, cache = groups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            mount, cache = groups / "memory", "total_inactive_file"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = mount / inside.lstrip("/")
        for folder in (own, *own.parents):
            with suppress(OSError, ValueError):  # there is none of that name here, or it has no limit
                yield max(
                    0,
                    int((folder / limit).read_text(encoding="utf-8"))
                    - int((folder / used).read_text(encoding="utf-8"))
                    + _cache(folder, cache),
                )
            if folder == mount:
                break


def _cache(folder: Path, name: str) -> int:
    values = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    return int(values.get(name, 0))


def _status(field: str) -> int | None:
    try:
        text = _STATUS.read_text(encoding="utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return None
