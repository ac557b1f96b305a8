"""The parent's end of a worker: requests and replies over a pipe of their own, and what a worker dies of."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, cast

from cnnbench.errors import WorkerError
from cnnbench.harness.worker.errors import (
    ProtocolError,
    WorkerCrashError,
    WorkerHungError,
    ending,
    oom_kills,
)
from cnnbench.harness.worker.interface import START_TIMEOUT_S, OnEvent
from cnnbench.harness.worker.launch import start_process
from cnnbench.harness.worker.logs import LogCapture
from cnnbench.harness.worker.protocol.messages import (
    LONGEST_LINE_BYTES,
    ReplyT,
    Request,
    encode,
    read_content,
    read_error,
    read_head,
)
from cnnbench.harness.worker.protocol.setup import PROTOCOL, ExitRequest, HelloReply, HelloRequest
from cnnbench.harness.worker.protocol.training import Event
from cnnbench.harness.worker.scratch import scratch_prefix
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.clock import MACHINE, Clock

DUMP_S = 0.5  # what a hung worker gets to print its stacks
BLOCK_BYTES = 2**20
LONGEST_WAIT_S = 1e6  # the kernel takes milliseconds as an int


class WorkerClient:
    """A worker process; the parent blocks while it works and never polls. See ``interface.Worker``.

    Args:
        spec: How it is started. It answers ``hello`` before the constructor returns.
        start_timeout_s: After so long without an answer it counts as hung.
        clock: Of timeouts.

    Raises:
        WorkerError: It did not start, or speaks another protocol.
    """

    def __init__(self, spec: WorkerSpec, *, start_timeout_s: float = START_TIMEOUT_S, clock: Clock = MACHINE) -> None:
        self.spec = spec
        self.folder = Path(tempfile.mkdtemp(prefix=scratch_prefix("worker")))
        self._clock = clock
        self._oom_before = oom_kills()
        self._buffer = b""
        self._number = 0
        try:
            self._process = start_process(spec, clock)
        except BaseException:
            self.folder.rmdir()
            raise
        try:
            self.hello: HelloReply = self.ask(HelloRequest(protocol=PROTOCOL), timeout_s=start_timeout_s)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.popen.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.popen.returncode is None

    @property
    def log(self) -> LogCapture:
        """What it prints."""
        return self._process.log

    def ask(self, request: Request[ReplyT], *, timeout_s: float, on_event: OnEvent | None = None) -> ReplyT:
        """Sends one request and blocks until its reply, as ``interface.Worker.ask`` says."""
        if not self.alive:
            raise WorkerCrashError("the worker is gone", where=str(self.spec.backend))
        self._number += 1
        line = encode(self._number, "parameters", request, request.method)
        deadline = self._clock.now() + timeout_s
        try:
            self._send(line, deadline, request.method)
            while True:
                found = self._content(self._receive(deadline, request.method), request)
                if isinstance(found, request.reply):
                    return cast(ReplyT, found)
                if found is None:
                    continue
                deadline = self._clock.now() + timeout_s
                if on_event is not None:
                    on_event(found)
        except (ProtocolError, KeyboardInterrupt):
            self.kill()
            raise

    def _content(self, line: bytes, request: Request[Any]) -> Any:
        """The reply or the event in a line; None for a late answer to a request that was given up."""
        what = f"the reply to {request.method!r}"
        number, data = read_head(line, what)
        if number < self._number:
            return None
        if number > self._number:
            raise ProtocolError(f"{what} has a wrong number", received=str(number), expected=str(self._number))
        if "event" in data:
            return read_content(line, "event", Event, f"an event during {request.method!r}")
        if "error" in data:
            raise read_error(line, what).as_error(request.method)
        if isinstance(request, HelloRequest):
            _check_protocol(data.get("result"), self.spec)
        return read_content(line, "result", request.reply, what)

    def _send(self, data: bytes, deadline: float, method: str) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._process.requests, select.POLLOUT, deadline, method)
            try:
                view = view[os.write(self._process.requests, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._raise_dead(method)

    def _receive(self, deadline: float, method: str) -> bytes:
        """The next line."""
        while b"\n" not in self._buffer:
            self._wait(self._process.replies, select.POLLIN, deadline, method)
            block = os.read(self._process.replies, BLOCK_BYTES)
            if not block:
                self._raise_dead(method)
            self._buffer += block
            if len(self._buffer) > LONGEST_LINE_BYTES:
                raise ProtocolError(f"the reply to {method!r} is longer than {LONGEST_LINE_BYTES} bytes")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _wait(self, descriptor: int, event: int, deadline: float, method: str) -> None:
        """Blocks until the pipe is ready; raises where the worker dies or time is up."""
        poller = select.poll()
        poller.register(descriptor, event)
        if self._process.sentinel is not None:
            poller.register(self._process.sentinel, select.POLLIN)
        ready: dict[int, int] = {}
        while not ready and (remaining := deadline - self._clock.now()) > 0:
            ready = dict(poller.poll(min(remaining, LONGEST_WAIT_S) * 1000))
        if not ready:
            self._raise_hung(method)
        if descriptor not in ready:  # a dead worker's last reply is still read
            self._raise_dead(method)

    def _raise_hung(self, method: str) -> NoReturn:
        with contextlib.suppress(ProcessLookupError):
            self._process.popen.send_signal(signal.SIGUSR1)  # prints its threads' stacks into its log
        self._clock.sleep(DUMP_S)
        self.kill()
        raise WorkerHungError(f"no answer to {method!r} in time; the worker was killed", where=str(self.spec.backend))

    def _raise_dead(self, method: str) -> NoReturn:
        try:
            code = self._process.popen.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            raise WorkerCrashError(f"the worker closed its pipe during {method!r}") from None
        self.kill()
        raise ending(
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
                self.ask(ExitRequest(), timeout_s=timeout_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.popen.wait(timeout=timeout_s)
        self.kill()

    def abort(self) -> None:
        """Makes the process die, from another thread than the one that waits for its reply and then ends it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Ends the worker and everything that it started, and frees what belongs to it."""
        self.abort()
        self._process.popen.wait()
        self.log.finish()
        self._process.close()
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


def _check_protocol(hello: Any, spec: WorkerSpec) -> None:
    """Refuses another protocol by name, before its greeting is read in the form of this one."""
    facts = hello if isinstance(hello, dict) else {}
    if facts.get("protocol") != PROTOCOL:
        raise ProtocolError(
            "the worker's cnnbench speaks another protocol",
            where=spec.python,
            received=f"protocol {facts.get('protocol')} of cnnbench {facts.get('cnnbench')}",
            expected=f"protocol {PROTOCOL}",
            remedy="install the same cnnbench in that interpreter's environment",
        )
