"""Resident memory of this process: its high-water mark, reset and read."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): resets VmHWM to the current resident size


def reset_peak() -> bool:
    """Sets the high-water mark to what is resident now; False where the kernel offers no way."""
    try:
        _CLEAR.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """The high-water mark of resident memory since ``reset_peak``; None where the kernel does not tell.

    ``getrusage`` would not do: a child's ``ru_maxrss`` starts at its parent's peak.
    """
    return _status("VmHWM")


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


def _status(field: str) -> int | None:
    try:
        text = _STATUS.read_text()
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return None
