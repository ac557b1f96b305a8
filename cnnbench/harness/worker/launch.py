"""Starting a worker process: its command, its pipes and what it prints."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass

from cnnbench.harness.worker.errors import WorkerCrashError
from cnnbench.harness.worker.logs import LogCapture
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.clock import MACHINE, Clock

MODULE = "cnnbench.harness.worker.process"


@dataclass
class WorkerProcess:
    """A process that was started, with the parent's ends of its pipes.

    Args:
        requests, replies: File descriptors; ``requests`` does not block.
        lifeline: The worker ends when this is closed.
        sentinel: Readable once the process has ended; None where the system has no such descriptor.
    """

    popen: subprocess.Popen[bytes]
    requests: int
    replies: int
    lifeline: int
    sentinel: int | None
    log: LogCapture

    def close(self) -> None:
        """Closes the descriptors; does nothing the second time."""
        for name in ("requests", "replies", "lifeline", "sentinel"):
            descriptor = getattr(self, name)
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)


def start_process(spec: WorkerSpec, clock: Clock = MACHINE) -> WorkerProcess:
    """Starts a worker. Raises WorkerCrashError where its interpreter cannot be started."""
    requests_out, requests = os.pipe()
    replies, replies_in = os.pipe()
    lifeline_out, lifeline = os.pipe()
    log_out, log_in = os.pipe()
    theirs = (requests_out, replies_in, lifeline_out)
    # The kernel's death signal follows the thread that starts a process, so only the main thread may ask for it.
    parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
    processors = ",".join(map(str, spec.processors))
    try:
        popen = subprocess.Popen(
            [spec.python, "-P", "-m", MODULE, *map(str, theirs), str(parent), processors],
            stdin=subprocess.DEVNULL,
            stdout=log_in,
            stderr=log_in,
            pass_fds=theirs,
            env=spec.environment(),
            start_new_session=True,
        )
    except OSError as error:
        for descriptor in (requests, replies, lifeline, log_out):
            os.close(descriptor)
        raise WorkerCrashError(f"the interpreter does not start: {error}", where=spec.python) from None
    finally:
        for descriptor in (*theirs, log_in):
            os.close(descriptor)
    os.set_blocking(requests, False)
    sentinel = os.pidfd_open(popen.pid) if hasattr(os, "pidfd_open") else None
    return WorkerProcess(popen, requests, replies, lifeline, sentinel, LogCapture(log_out, clock))
