"""A machine of fake workers on which whole runs are made, with answers that functions give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fake_worker import Answer, FakeWorker, FakeWorkers

from cnnbench.errors import WorkerError
from cnnbench.harness.passes.facts import Machine
from cnnbench.harness.run.executors import LocalExecutor


class FakeMachine(FakeWorkers):
    """Fake workers as a machine.

    Args:
        latencies_s: As for ``FakeWorkers``.

    Attributes:
        answers: By request type: gives a reply, raises, or gives None for the healthy answer.
    """

    def __init__(self, latencies_s: Mapping[str, float] | None = None) -> None:
        super().__init__(latencies_s)
        self.answers: dict[type, Callable[[FakeWorker, Any], Any]] = {}

    @property
    def machine(self) -> Machine:
        return Machine(self, self.clock.clock)

    @property
    def executor(self) -> LocalExecutor:
        return LocalExecutor(self.machine)

    def fail(self, kind: type, where: Callable[[FakeWorker, Any], bool], error: BaseException | None = None) -> None:
        """Has requests of a type fail where a condition holds."""

        def answer(worker: FakeWorker, request: Any) -> None:
            if where(worker, request):
                raise error or WorkerError("it is gone")

        self.answers[kind] = answer

    def answer(self, worker: FakeWorker, request: Any) -> Answer:
        """What the function for the request's type says, else what the rules say."""
        special = self.answers.get(type(request))
        try:
            reply = special(worker, request) if special is not None else None
        except BaseException as error:  # an interruption too
            return Answer(error=error, prints="what the worker printed")  # type: ignore[arg-type]
        return super().answer(worker, request) if reply is None else Answer(reply=reply)
