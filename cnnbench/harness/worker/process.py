"""The worker process: binds its processors before anything is imported, then serves, and ends with its parent."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading

ORPHANED = 3
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """``worker READ_FD WRITE_FD LIFELINE_FD PARENT_PID PROCESSORS``: serves until it is asked to end.

    Processors are bound before anything that starts threads is imported.
    """
    read_end, write_end, lifeline, parent = (int(value) for value in arguments[:4])
    die_with_parent(parent, lifeline)
    if arguments[4:] and arguments[4] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(number) for number in arguments[4].split(",")])
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    from cnnbench.harness.worker.server import serve

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
