"""The parent's end of a worker: requests and replies over a pipe of their own, and what a worker dies of."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cnnbench.errors import WorkerError
from cnnbench.harness.worker.errors import WorkerCrashError, WorkerHungError, ending, oom_kills, result_of
from cnnbench.harness.worker.logs import LogCapture
from cnnbench.harness.worker.plain_text import plain_data
from cnnbench.harness.worker.process import PROTOCOL
from cnnbench.harness.worker.scratch import scratch_prefix
from cnnbench.harness.worker.specification import WorkerSpec

LONGEST_REPLY_BYTES = 64 * 2**20
DUMP_S = 0.5  # what a hung worker gets to print its stacks


class Worker:
    """A worker process; the parent blocks while it works and never polls.

    Args:
        spec: How it is started. It answers ``hello`` before the constructor returns.
        start_timeout_s: After so long without an answer it counts as hung.

    Raises:
        WorkerError: It did not start, or speaks another protocol.
    """

    def __init__(self, spec: WorkerSpec, *, start_timeout_s: float = 120.0) -> None:
        self.spec = spec
        self.folder = Path(tempfile.mkdtemp(prefix=scratch_prefix("worker")))
        self._oom_before = oom_kills()
        self._buffer = b""
        self._number = 0
        self._start()
        try:
            self.hello = self.request("hello", timeout_s=start_timeout_s)
            _check_protocol(self.hello, spec)
        except BaseException:
            self.kill()
            raise

    def _start(self) -> None:
        requests_out, self._requests = os.pipe()
        self._replies, replies_in = os.pipe()
        lifeline_out, self._lifeline = os.pipe()
        log_out, log_in = os.pipe()
        theirs = (requests_out, replies_in, lifeline_out)
        # The kernel's death signal follows the thread that starts a process, so only the main thread may ask for it.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        processors = ",".join(map(str, self.spec.processors))
        command = [
            self.spec.python,
            "-P",
            "-m",
            "cnnbench.harness.worker.process",
            *map(str, theirs),
            str(parent),
            processors,
        ]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log_in,
                stderr=log_in,
                pass_fds=theirs,
                env=self.spec.environment(),
                start_new_session=True,
            )
        except OSError as error:
            for descriptor in (self._requests, self._replies, self._lifeline, log_out):
                os.close(descriptor)
            raise WorkerCrashError(f"the interpreter does not start: {error}", where=self.spec.python) from None
        finally:
            for descriptor in (*theirs, log_in):
                os.close(descriptor)
        self.log = LogCapture(log_out)
        os.set_blocking(self._requests, False)
        self._sentinel = os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else None

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.returncode is None

    def request(
        self,
        method: str,
        *,
        timeout_s: float,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Sends one request and blocks until its reply.

        Args:
            method: A public method of the worker's ``Requests``.
            timeout_s: After so long without a reply or an event the worker is killed as hung.
            on_event: Receives what the worker tells before its reply, such as finished epochs.
            parameters: JSON values; paths as strings.

        Raises:
            WorkerCrashError, WorkerHungError, OutOfMemoryError: The worker is gone.
            RequestFailedError, OutOfMemoryError: It answered with an exception and lives on.
        """
        if not self.alive:
            raise WorkerCrashError("the worker is gone", where=str(self.spec.backend))
        self._number += 1
        line = json.dumps({"number": self._number, "method": method, "parameters": parameters}) + "\n"
        deadline = time.monotonic() + timeout_s
        try:
            self._send(line.encode(), deadline, method)
            while True:
                message = self._receive(deadline, method)
                if message.get("number") != self._number:
                    continue  # a late answer to a request that was given up
                if "event" not in message:
                    return result_of(message, method)
                deadline = time.monotonic() + timeout_s
                if on_event is not None:
                    on_event(message["event"])
        except KeyboardInterrupt:
            self.kill()
            raise

    def _send(self, data: bytes, deadline: float, method: str) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._requests, select.POLLOUT, deadline, method)
            try:
                view = view[os.write(self._requests, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._dead(method) from None

    def _receive(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._wait(self._replies, select.POLLIN, deadline, method)
            block = os.read(self._replies, 2**20)
            if not block:
                raise self._dead(method)
            self._buffer += block
            if len(self._buffer) > LONGEST_REPLY_BYTES:
                self.kill()
                raise WorkerCrashError(f"the reply to {method!r} is longer than {LONGEST_REPLY_BYTES} bytes")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.kill()
            raise WorkerCrashError(f"the reply to {method!r} is not JSON", received=repr(line[:80]))
        # An escaped half character or control character would reach records and reports.
        return plain_data(message) if b"\\u" in line else message

    def _wait(self, descriptor: int, event: int, deadline: float, method: str) -> None:
        """Blocks until the pipe is ready; raises where the worker dies or time is up."""
        poller = select.poll()
        poller.register(descriptor, event)
        if self._sentinel is not None:
            poller.register(self._sentinel, select.POLLIN)
        remaining = deadline - time.monotonic()
        ready = dict(poller.poll(max(remaining, 0) * 1000)) if remaining > 0 else {}
        if not ready:
            raise self._hung(method)
        if descriptor not in ready:  # a dead worker's last reply is still read
            raise self._dead(method)

    def _hung(self, method: str) -> WorkerError:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)  # prints its threads' stacks into its log
        time.sleep(DUMP_S)
        self.kill()
        return WorkerHungError(f"no answer to {method!r} in time; the worker was killed", where=str(self.spec.backend))

    def _dead(self, method: str) -> WorkerError:
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return WorkerCrashError(f"the worker closed its pipe during {method!r}")
        self.kill()
        return ending(
            code,
            method,
            str(self.spec.backend),
            tail=self.log.text()[-4000:],
            killed_for_memory=oom_kills() > self._oom_before,
        )

    def close(self, timeout_s: float = 10.0) -> None:
        """Asks it to end, and kills it where it does not."""
        if self.alive:
            with contextlib.suppress(WorkerError):
                self.request("exit", timeout_s=timeout_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=timeout_s)
        self.kill()

    def abort(self) -> None:
        """Makes the process die, from another thread than the one that waits for its reply and then ends it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Ends the worker and everything that it started, and frees what belongs to it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.log.finish()
        for name in ("_requests", "_replies", "_lifeline", "_sentinel"):
            descriptor = getattr(self, name, None)
            if descriptor is not None:
                os.close(descriptor)
                setattr(self, name, None)
        for path in self.folder.glob("*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()


def _check_protocol(hello: Mapping[str, Any], spec: WorkerSpec) -> None:
    if hello.get("protocol") != PROTOCOL:
        raise WorkerError(
            "the worker's cnnbench speaks another protocol",
            where=spec.python,
            received=f"protocol {hello.get('protocol')} of cnnbench {hello.get('cnnbench')}",
            expected=f"protocol {PROTOCOL}",
            remedy="install the same cnnbench in that interpreter's environment",
        )
