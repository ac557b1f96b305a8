"""What passes need of a worker, whether it is a process or stands in for one in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from cnnbench.harness.worker.protocol.messages import ReplyT, Request
from cnnbench.harness.worker.protocol.setup import HelloReply
from cnnbench.harness.worker.protocol.training import Event
from cnnbench.harness.worker.specification import WorkerSpec

START_TIMEOUT_S = 120.0

OnEvent = Callable[[Event], None]


class WorkerLog(Protocol):
    """What a worker prints."""

    def mark(self) -> int:
        """How much was printed so far."""

    def text(self, since: int = 0) -> str:
        """What was printed since a mark."""


class Worker(Protocol):
    """A worker.

    Attributes:
        spec: How it was started.
        hello: Who it is.
        folder: Where files are exchanged with it; it is removed with the worker.
        pid: Its process. alive: whether it can still be asked.
        log: What it prints.
    """

    @property
    def spec(self) -> WorkerSpec: ...
    @property
    def hello(self) -> HelloReply: ...
    @property
    def folder(self) -> Path: ...
    @property
    def pid(self) -> int: ...
    @property
    def alive(self) -> bool: ...
    @property
    def log(self) -> WorkerLog: ...

    def ask(self, request: Request[ReplyT], *, timeout_s: float, on_event: OnEvent | None = None) -> ReplyT:
        """Sends one request and blocks until its reply.

        Args:
            request: What is asked.
            timeout_s: After so long without a reply or an event the worker is killed as hung.
            on_event: Receives what the worker reports before its reply, such as finished epochs.

        Raises:
            WorkerCrashError, WorkerHungError, OutOfMemoryError: The worker is gone.
            RequestFailedError, OutOfMemoryError: It answered with an exception and lives on.
            UnavailableError: The backend cannot do it here.
        """

    def close(self, timeout_s: float = 10.0) -> None:
        """Asks it to end, and kills it where it does not."""

    def abort(self) -> None:
        """Makes it die, from another thread than the one that waits for its reply and then ends it."""

    def kill(self) -> None:
        """Ends it and everything that it started, and frees what belongs to it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StartWorker(Protocol):
    """Starts a worker; ``WorkerClient`` does. Raises WorkerError where it does not start."""

    def __call__(self, spec: WorkerSpec, *, start_timeout_s: float = START_TIMEOUT_S) -> Worker: ...
