"""The worker process: reads requests from its pipe, answers on another, and ends with its parent."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cnnbench.errors import UnavailableError

if TYPE_CHECKING:
    from cnnbench.harness.worker.server import Requests

PROTOCOL = 3
ORPHANED = 3
_PR_SET_PDEATHSIG = 1
# MemoryError, torch's and XLA's own words, and CUDA's.
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|ResourceExhausted|OutOfMemory|RESOURCE_EXHAUSTED|out of memory|not enough memory", re.IGNORECASE
)


def main(arguments: list[str]) -> int:
    """``worker READ_FD WRITE_FD LIFELINE_FD PARENT_PID PROCESSORS``: serves until told to end.

    Processors are bound before anything that starts threads is imported.
    """
    read_end, write_end, lifeline, parent = (int(value) for value in arguments[:4])
    die_with_parent(parent, lifeline)
    if arguments[4:] and arguments[4] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(number) for number in arguments[4].split(",")])
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    with os.fdopen(read_end, "rb") as requests, os.fdopen(write_end, "wb", buffering=0) as replies:
        serve(requests, replies)
    # Interpreters of frameworks may crash or wait while they end; everything is answered by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def die_with_parent(parent: int, lifeline: int) -> None:
    """Ends this process when its parent ends: a thread waits for the lifeline's end, and the kernel helps on Linux.

    Args:
        parent: Its id, or 0 where the kernel must not be asked (its signal follows the thread that started us).
        lifeline: A pipe that only the parent holds open.
    """

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        os._exit(ORPHANED)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
    if parent and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(ORPHANED)


def serve(requests: Iterator[bytes], replies: Any) -> None:
    """Answers one request after another until ``exit`` or the end of the pipe."""
    served: Requests | None = None
    for line in requests:
        message = json.loads(line)
        number, method = message["number"], message["method"]

        def tell(event: dict[str, Any], number: int = number) -> None:
            _write(replies, {"number": number, "event": event})

        try:
            if method == "hello":
                result: dict[str, Any] = hello()
            elif method == "exit":
                _write(replies, {"number": number, "result": {}})
                return
            else:
                if served is None:
                    from cnnbench.harness.worker.server import Requests

                    served = Requests()
                result = handler(served, method)(tell=tell, **message["parameters"])
            reply = {"number": number, "result": result}
        except BaseException as error:  # whatever it is, the parent must hear of it
            traceback.print_exc()
            reply = {"number": number, "error": describe_error(error)}
        _write(replies, reply)


def handler(served: Requests, method: str) -> Callable[..., dict[str, Any]]:
    """The method that serves a request; raises ValueError where there is none."""
    found = None if method.startswith("_") else getattr(served, method, None)
    if found is None:
        raise ValueError(f"unknown request {method!r}")
    return found  # type: ignore[no-any-return]


def hello() -> dict[str, Any]:
    """Who answers, and in which protocol."""
    from cnnbench.version import __version__

    return {
        "protocol": PROTOCOL,
        "cnnbench": __version__,
        "pid": os.getpid(),
        "python": sys.version.split()[0],
        "executable": sys.executable,
    }


def describe_error(error: BaseException) -> dict[str, Any]:
    """What the parent is told of an exception."""
    message = str(error) or repr(error)
    name = type(error).__name__
    lacking = isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(f"{name}: {message}"))
    return {
        "type": name,
        "message": message[:4000],
        "out_of_memory": lacking,
        "unavailable": isinstance(error, UnavailableError),
    }


def _write(replies: Any, message: dict[str, Any]) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[replies.write(data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
