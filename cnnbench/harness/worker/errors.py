"""What becomes of a worker, or of a request to it, that fails; each class names the status of the cell."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from cnnbench.errors import PluginError, WorkerError
from cnnbench.harness.suite.status import Status

_OUT_OF_MEMORY = ("bad_alloc", "Cannot allocate memory", "out of memory", "Out of memory", "MemoryError")


class WorkerCrashError(WorkerError):
    """The worker process ended on its own or by a signal."""

    status: Status = "crashed"


class ProtocolError(WorkerCrashError):
    """What came over the pipe is not what the protocol says; a worker that sent it was ended."""


class WorkerHungError(WorkerError):
    """The worker did not answer in time and was killed."""

    status: Status = "hung"


class OutOfMemoryError(WorkerError):
    """The worker, or the request that it served, ran out of memory."""

    status: Status = "out_of_memory"


class RequestFailedError(WorkerError):
    """The worker answered with an exception and lives on."""

    status: Status = "error"


class PluginFailedError(RequestFailedError, PluginError):
    """The worker answered with an exception of a plugin's code."""


def ending(code: int, method: str, backend: str, *, tail: str, killed_for_memory: bool) -> WorkerError:
    """The error for a worker that ended with an exit code, or with a signal as its negative.

    Args:
        code: The exit code, or the signal as its negative.
        method: Of the request that it was serving.
        backend: Its backend's name.
        tail: The end of what it printed.
        killed_for_memory: Whether the system has killed a process for memory since the worker started.
    """
    end = f"signal {-code} ({_signal_name(-code)})" if code < 0 else f"exit code {code}"
    message = f"the worker ended during {method!r} with {end}"
    killed = code == -signal.SIGKILL and killed_for_memory
    if killed or (code != 0 and any(word in tail for word in _OUT_OF_MEMORY)):
        return OutOfMemoryError(f"{message}: out of memory", where=backend)
    return WorkerCrashError(message, where=backend)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def oom_kills() -> int:
    """How many processes the kernel has killed for memory so far; 0 where it does not tell."""
    total = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    total += int(value)
    return total
