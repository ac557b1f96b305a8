"""A program that a worker keeps, as a session: opened for a check, or the one that is timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.execution.host import HostResult, grouped
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.protocol.messages import ReplyT, Request
from cnnbench.harness.worker.protocol.sessions import (
    CallsRequest,
    CloseSessionRequest,
    HeldRequest,
    LoadArraysRequest,
    OpenGradientRequest,
    OpenSessionRequest,
    OverwriteRequest,
    UploadRequest,
)
from cnnbench.numerics.session import Calls

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.host import HostArrays
    from cnnbench.harness.worker.interface import Worker
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss

_numbers = count()


class WorkerSession:
    """A session whose program lives in a worker. Arrays travel as files in the worker's folder.

    Args:
        worker: With its backend loaded.
        timeout_s: Of each request.
        name: Under which the worker keeps the program: that of ``opened``, or a cell that was prepared.
    """

    def __init__(self, worker: Worker, timeout_s: float, name: str) -> None:
        self._worker, self._timeout_s, self._name = worker, timeout_s, name

    @staticmethod
    def opened(worker: Worker, timeout_s: float, graph: Graph, options: ProgramOptions) -> WorkerSession:
        """A program that is compiled for the session.

        Args:
            worker: With its backend loaded.
            timeout_s: Of each request.
            graph: What is compiled.
            options: How.
        """
        session = WorkerSession(worker, timeout_s, f"session {next(_numbers)}")
        session._ask(OpenSessionRequest(session=session._name, graph=graph, options=options))
        return session

    @staticmethod
    def opened_gradient(
        worker: Worker, timeout_s: float, graph: Graph, options: ProgramOptions, loss: Loss | None
    ) -> WorkerSession:
        """A gradient program that is compiled for the session.

        Args:
            worker: With its backend loaded.
            timeout_s: Of each request.
            graph: What is compiled.
            options: How.
            loss: As in ``Subject.gradient``.
        """
        session = WorkerSession(worker, timeout_s, f"session {next(_numbers)}")
        session._ask(OpenGradientRequest(session=session._name, graph=graph, options=options, loss=loss))
        return session

    def load(self, arrays: HostArrays) -> None:
        """As ``Session.load``."""
        with self._file(arrays) as path:
            self._ask(LoadArraysRequest(session=self._name, arrays=path))

    def upload(self, name: str, batch: HostArrays) -> None:
        """As ``Session.upload``."""
        with self._file(batch) as path:
            self._ask(UploadRequest(session=self._name, name=name, batch=path))

    def run(self, name: str, calls: int = 1) -> Calls:
        """As ``Session.run``."""
        with self._file() as path:
            reply = self._ask(CallsRequest(session=self._name, name=name, calls=calls, output=path))
            groups = grouped(read_arrays(path))
        result = HostResult(groups.get("outputs", {}), groups.get("state", {}))
        return Calls(result, reply.digests, reply.deviation)

    def overwrite(self, name: str, source: str) -> bool:
        """As ``Session.overwrite``."""
        return bool(self._ask(OverwriteRequest(session=self._name, name=name, source=source)).done)

    def held(self) -> HostArrays | None:
        """As ``Session.held``."""
        with self._file() as path:
            reply = self._ask(HeldRequest(session=self._name, output=path))
            return read_arrays(path) if reply.done else None

    def close(self) -> None:
        """As ``Session.close``; a worker that is gone has freed it."""
        if self._worker.alive:
            self._ask(CloseSessionRequest(session=self._name))

    def _ask(self, request: Request[ReplyT]) -> ReplyT:
        return self._worker.ask(request, timeout_s=self._timeout_s)

    @contextmanager
    def _file(self, arrays: HostArrays | None = None) -> Iterator[Path]:
        """A file with the arrays, or the path of one for the worker's; removed at the end."""
        path = self._worker.folder / f"session-{next(_numbers)}.safetensors"
        try:
            if arrays is not None:
                write_arrays(path, arrays)
            yield path
        finally:
            path.unlink(missing_ok=True)
