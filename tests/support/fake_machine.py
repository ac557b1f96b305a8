"""A machine without processes: workers that answer at once, on a clock that goes on by what they say it took."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench.errors import WorkerError
from cnnbench.harness.passes.facts import Machine
from cnnbench.harness.run.executors import LocalExecutor
from cnnbench.harness.worker.arrays import write_arrays
from cnnbench.harness.worker.errors import WorkerCrashError
from cnnbench.harness.worker.protocol import checks, memory, setup, timing, training
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.clock import ManualClock
from cnnbench.measurement.observation import Observation
from cnnbench.measurement.sampling import SynchronizationCheck, WarmUp
from cnnbench.measurement.turns import Turn
from cnnbench.training.epoch import Epoch

NO_PROCESS = 2**30  # above every process id
STEPS = 2  # of an epoch

Answer = Callable[["FakeWorker", Any], Any]


class FakeLog:
    """What a worker that prints nothing prints."""

    def mark(self) -> int:
        return 0

    def text(self, since: int = 0) -> str:
        return "what the worker printed"


@dataclass
class FakeMachine:
    """Starts fake workers, and keeps what they were asked.

    Args:
        latency_s: Of one call, by the program's mode; 1 ms where it is not named.
        answers: By request type, instead of the usual answer: it may give a reply, raise, or give None for the usual.
    """

    latency_s: dict[str, float] = field(default_factory=dict)
    answers: dict[type, Answer] = field(default_factory=dict)
    time: ManualClock = field(default_factory=ManualClock)
    workers: list[FakeWorker] = field(default_factory=list)
    asked: list[tuple[WorkerSpec, Any]] = field(default_factory=list)

    def start_worker(self, spec: WorkerSpec, *, start_timeout_s: float = 1.0) -> FakeWorker:
        worker = FakeWorker(self, spec)
        self.workers.append(worker)
        return worker

    @property
    def machine(self) -> Machine:
        return Machine(self.start_worker, self.time.clock)

    @property
    def executor(self) -> LocalExecutor:
        return LocalExecutor(self.machine)

    def requests(self, *kinds: type) -> list[Any]:
        """What was asked, of these types."""
        return [request for _, request in self.asked if isinstance(request, kinds)]

    def fail(self, kind: type, where: Callable[[FakeWorker, Any], bool], error: BaseException | None = None) -> None:
        """Has requests of a type fail where a condition holds."""

        def answer(worker: FakeWorker, request: Any) -> None:
            if where(worker, request):
                raise error or WorkerError("it is gone")

        self.answers[kind] = answer


class FakeWorker:
    """A worker that answers at once."""

    def __init__(self, machine: FakeMachine, spec: WorkerSpec) -> None:
        self.machine = machine
        self.spec = spec
        self.folder = Path(tempfile.mkdtemp(prefix="fake-worker-"))
        self.pid = NO_PROCESS + len(machine.workers)
        self.hello = setup.HelloReply(
            protocol=setup.PROTOCOL, cnnbench="0", pid=self.pid, python="3.11", executable="python"
        )
        self.log = FakeLog()
        self.alive = True
        self.prepared: dict[str, timing.PrepareRequest] = {}

    def ask(self, request: Any, *, timeout_s: float, on_event: Callable[[Any], None] | None = None) -> Any:
        if not self.alive:
            raise WorkerCrashError("the worker is gone")
        self.machine.asked.append((self.spec, request))
        special = self.machine.answers.get(type(request))
        if special is not None and (answer := special(self, request)) is not None:
            return answer
        answer = getattr(self, f"_{request.method}")
        return answer(request, on_event) if isinstance(request, training.TrainRequest) else answer(request)

    def die(self) -> WorkerCrashError:
        """Ends it as a crash does; the error to raise."""
        self.alive = False
        return WorkerCrashError("the worker died: SIGKILL")

    def close(self, timeout_s: float = 1.0) -> None:
        self.kill()

    def abort(self) -> None:
        self.alive = False

    def kill(self) -> None:
        self.alive = False
        for path in self.folder.glob("*"):
            path.unlink()
        if self.folder.exists():
            self.folder.rmdir()

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def latency_s(self, cell: str) -> float:
        """Of one call of a prepared program."""
        return self.machine.latency_s.get(self.prepared[cell].options.mode, 1e-3)

    def _spend(self, seconds: float) -> float:
        self.machine.time.advance(seconds)
        return seconds

    def _load(self, request: setup.LoadRequest) -> setup.LoadReply:
        return setup.LoadReply(import_s=self._spend(2.0), described={}, versions={"numpy": "2"}, kinds=())

    def _prepare(self, request: timing.PrepareRequest) -> timing.PrepareReply:
        self.prepared[request.cell] = request
        batch = 1 if "-b1-" in request.cell else 2
        shapes = request.graph.shapes(batch)
        outputs = {name: np.zeros(shapes[value], np.float32) for name, value in request.graph.outputs}
        if request.output is not None:
            write_arrays(request.output, outputs)
        self._spend(1.0)
        return timing.PrepareReply(build_s=0.25, weights_s=0.25, compile_s=None, first_call_s=0.5)

    def _warm_up(self, request: timing.WarmUpRequest) -> timing.WarmUpReply:
        call_s = self.latency_s(request.cell)
        seconds = self._spend(6 * call_s)
        return timing.WarmUpReply(
            warm_up=WarmUp(calls=6, seconds=seconds, steady=True, call_s=call_s, calls_per_sample=1)
        )

    def _check_synchronization(self, request: timing.SynchronizationRequest) -> timing.SynchronizationReply:
        return timing.SynchronizationReply(check=SynchronizationCheck(True, 2.0, 0.0, request.call_s, ""))

    def _sample(self, request: timing.SampleRequest) -> timing.SampleReply:
        samples = self._samples(request.cell, self.prepared[request.cell].sampling.samples)
        return timing.SampleReply(samples_s=samples, observed=observed(sum(samples)))

    def _samples(self, cell: str, count: int) -> tuple[float, ...]:
        return tuple(self._spend(self.latency_s(cell)) for _ in range(count))

    def _begin_turns(self, request: timing.BeginTurnsRequest) -> setup.Done:
        return setup.Done()

    def _turn(self, request: timing.TurnRequest) -> timing.TurnReply:
        samples = self._samples(request.cell, request.samples)
        return timing.TurnReply(turn=Turn(samples_s=samples, wall_s=sum(samples), idle_after_s=0.0))

    def _end_turns(self, request: timing.EndTurnsRequest) -> timing.EndTurnsReply:
        return timing.EndTurnsReply(observed=observed(0.1), used_s=0.1)

    def _release(self, request: timing.ReleaseRequest) -> setup.Done:
        del self.prepared[request.cell]
        return setup.Done()

    def _null_memory(self, request: memory.NullMemoryRequest) -> memory.NullMemoryReply:
        return memory.NullMemoryReply(null_bytes=100)

    def _peak_memory(self, request: memory.PeakMemoryRequest) -> memory.PeakMemoryReply:
        return memory.PeakMemoryReply(peak_bytes=150, device_peak_bytes=None)

    def _yardsticks(self, request: timing.YardsticksRequest) -> timing.YardsticksReply:
        return timing.YardsticksReply(matrix_product_gflop_per_s=100.0, copy_gb_per_s=10.0)

    def _train(self, request: training.TrainRequest, on_event: Callable[[Any], None] | None) -> training.TrainReply:
        losses = tuple(1.0 / (step + 1) for step in range(STEPS * request.settings.epochs))
        for number in range(1, request.settings.epochs + 1):
            epoch = Epoch(
                epoch=number, step=STEPS * number, train_loss=losses[STEPS * number - 1], test_loss=0.5,
                test_accuracy=0.5, seconds=self._spend(1.0),
            )  # fmt: skip
            if on_event is not None:
                on_event(training.EpochEvent(epoch=epoch))
        return training.TrainReply(losses=losses, predictions=(0, 1), targets=(0, 0))

    def _losses(self, request: training.LossesRequest) -> training.LossesReply:
        return training.LossesReply(losses=tuple(request.beside))

    def _prefetch(self, request: checks.PrefetchRequest) -> setup.Done:
        return setup.Done()


def observed(seconds: float) -> Observation:
    """A stretch of time in which one processor was busy."""
    return Observation(
        wall_s=seconds, processor_s=seconds, stolen_s=0.0, machine_s=2 * seconds, involuntary_switches=0,
        frequency_hz=None, foreign_s=0.0,
    )  # fmt: skip
