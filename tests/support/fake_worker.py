"""Workers without processes: they answer typed requests in the time of a clock that only they move.

    workers = FakeWorkers(latencies_s={"numpy": 0.010, "slow": 0.025})
    pool = Pool(60.0, Stopwatch(), workers)
    workers.rule(SampleRequest, Answer(hangs=True), backend="slow", times=1)

Without a rule every request is answered as a healthy backend would, and the clock goes on by what that takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.errors import WorkerCrashError, WorkerHungError
from cnnbench.harness.worker.interface import START_TIMEOUT_S, OnEvent
from cnnbench.harness.worker.protocol import memory, sessions, setup, timing, training
from cnnbench.harness.worker.protocol.messages import Message, ReplyT, Request, encode, read_content
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.clock import ManualClock
from cnnbench.measurement.observation import Observation
from cnnbench.measurement.sampling import WarmUp
from cnnbench.measurement.synchronization import FreshnessCheck, SynchronizationCheck
from cnnbench.measurement.turns import Turn
from cnnbench.training.epoch import Epoch

FIRST_PID = 10_000_000  # beyond what Linux gives to processes
WARM_UP_CALLS = 6


@dataclass(frozen=True)
class Answer:
    """How a worker answers instead of being healthy.

    Args:
        reply: What it gives; None for the healthy reply.
        error: What is raised instead. A crash, a hang or a lack of memory that ``ends`` it leaves it dead.
        takes_s: Seconds until then; None for what the healthy reply takes.
        hangs: It never answers: it is killed at the time limit.
        ends: Whether an ``error`` ends the worker; by default a crash does.
        events: What it reports before.
        prints: What goes to its log.
    """

    reply: Message | None = None
    error: Exception | None = None
    takes_s: float | None = None
    hangs: bool = False
    ends: bool | None = None
    events: tuple[Message, ...] = ()
    prints: str = ""

    @property
    def is_deadly(self) -> bool:
        """Whether the worker is gone afterwards."""
        return isinstance(self.error, WorkerCrashError) if self.ends is None else self.ends


@dataclass
class _Rule:
    kind: type[Request[Any]]
    answer: Answer
    where: Callable[[FakeWorker, Request[Any]], bool]
    times: float


class FakeWorkers:
    """Starts fake workers; stands for ``WorkerClient`` wherever workers are started.

    Args:
        latencies_s: Seconds of one call, by backend or by backend and mode (``numpy fast``); 0.01 for the others.
        clock: Moved on by every answer.
        start_s: Seconds that starting a worker takes. load_s: seconds of importing its backend.
        kinds: The layer kinds that every backend has ops for.
        outputs: What a program gives in its first call, from (worker, request); zeros unless given.
    """

    def __init__(
        self,
        latencies_s: Mapping[str, float] | None = None,
        *,
        clock: ManualClock | None = None,
        start_s: float = 0.5,
        load_s: float = 1.0,
        kinds: tuple[str, ...] = (),
        outputs: Callable[[FakeWorker, timing.PrepareRequest], Mapping[str, Any]] | None = None,
    ) -> None:
        self.latencies_s = dict(latencies_s or {})
        self.clock = clock or ManualClock()
        self.start_s, self.load_s, self.kinds = start_s, load_s, kinds
        self.outputs = outputs or (lambda worker, request: zeros(request))
        self.started: list[FakeWorker] = []
        self.asked: list[tuple[FakeWorker, Request[Any]]] = []
        self.refused: dict[str | None, Exception] = {}
        self._rules: list[_Rule] = []

    def rule(
        self,
        kind: type[Request[Any]],
        answer: Answer,
        *,
        backend: str | None = None,
        where: Callable[[FakeWorker, Request[Any]], bool] = lambda worker, request: True,
        times: float = float("inf"),
    ) -> None:
        """Answers requests of a kind in another way: those of a backend, those that ``where`` names, so many times."""

        def concerns(worker: FakeWorker, request: Request[Any]) -> bool:
            return backend in (None, worker.spec.backend) and where(worker, request)

        self._rules.append(_Rule(kind, answer, concerns, times))

    def refuse(self, backend: str | None, error: Exception) -> None:
        """Lets no worker of a backend start."""
        self.refused[backend] = error

    def of(self, backend: str | None) -> list[FakeWorker]:
        """The workers of a backend that were started."""
        return [worker for worker in self.started if worker.spec.backend == backend]

    def requests(self, *kinds: type[Request[Any]]) -> list[Request[Any]]:
        """What was asked of all workers in order, of these kinds or of all."""
        return [request for _, request in self.asked if not kinds or isinstance(request, kinds)]

    def answer(self, worker: FakeWorker, request: Request[Any]) -> Answer:
        """How this request is answered."""
        for rule in self._rules:
            if isinstance(request, rule.kind) and rule.times > 0 and rule.where(worker, request):
                rule.times -= 1
                return rule.answer
        return Answer()

    def __call__(self, spec: WorkerSpec, *, start_timeout_s: float = START_TIMEOUT_S) -> FakeWorker:
        if spec.backend in self.refused:
            raise self.refused[spec.backend]
        self.clock.advance(self.start_s)
        worker = FakeWorker(spec, self, FIRST_PID + len(self.started))
        self.started.append(worker)
        return worker


class FakeLog:
    """What a fake worker prints."""

    def __init__(self) -> None:
        self.printed = ""

    def mark(self) -> int:
        return len(self.printed)

    def text(self, since: int = 0) -> str:
        return self.printed[since:]


@dataclass(eq=False)
class FakeWorker:
    """A worker; see ``interface.Worker``. ``prepared`` holds its programs by cell."""

    spec: WorkerSpec
    workers: FakeWorkers
    pid: int
    alive: bool = True
    log: FakeLog = field(default_factory=FakeLog)
    prepared: dict[str, timing.PrepareRequest] = field(default_factory=dict)
    sampled: int = 0

    def __post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fake-worker-")
        self.folder = Path(self._folder.name)
        self.hello = setup.HelloReply(
            protocol=setup.PROTOCOL, cnnbench="0", pid=self.pid, python="3.11.0", executable=self.spec.python
        )

    def latency_s(self, request: Any) -> float:
        """Seconds of one call of the program that a request is about."""
        program = request if isinstance(request, timing.PrepareRequest) else None
        program = program or self.prepared.get(getattr(request, "cell", ""))
        known, backend = self.workers.latencies_s, str(self.spec.backend)
        of_backend = known.get(backend, 0.01)
        return known.get(f"{backend} {program.options.mode}", of_backend) if program else of_backend

    def ask(self, request: Request[ReplyT], *, timeout_s: float, on_event: OnEvent | None = None) -> ReplyT:
        """Answers by the rules, through the same lines as a real worker."""
        if not self.alive:
            raise WorkerCrashError("the worker is gone", where=str(self.spec.backend))
        line = encode(1, "parameters", request, request.method)
        request = read_content(line, "parameters", type(request), "a request")
        self.workers.asked.append((self, request))
        answer = self.workers.answer(self, request)
        self.log.printed += answer.prints
        healthy, takes_s, events = self._healthy(request, answer)
        takes_s = takes_s if answer.takes_s is None else answer.takes_s
        if answer.hangs or takes_s > timeout_s:
            self.workers.clock.advance(timeout_s)
            self.kill()
            raise WorkerHungError(f"no answer to {request.method!r} in time; the worker was killed")
        self.workers.clock.advance(takes_s)
        for event in answer.events or events:
            if on_event is not None:
                on_event(read_content(encode(1, "event", event), "event", training.Event, "an event"))
        if answer.error is not None:
            if answer.is_deadly:
                self.kill()
            raise answer.error
        given = answer.reply or healthy
        if given is None:
            raise AssertionError(f"no healthy reply to {request.method!r} is known: give a rule")
        reply = encode(1, "result", given)
        found: ReplyT = read_content(reply, "result", request.reply, f"the reply to {request.method!r}")
        return found

    def _healthy(self, request: Any, answer: Answer) -> tuple[Message | None, float, tuple[Message, ...]]:
        """(reply, seconds, events) of a worker that is well; no more than needed where another answer is given."""
        if answer.error is not None or answer.hangs:
            return setup.Done(), 0.0, ()
        return (*self._reply(request), self._events(request))

    def _reply(self, request: Any) -> tuple[Message | None, float]:
        call_s = self.latency_s(request)
        for healthy in (self._setting_up, self._sampling, self._in_turns, self._at_the_end, self._training):
            found = healthy(request, call_s)
            if found is not None:
                return found
        return (setup.Done() if request.reply is setup.Done else None), call_s

    def _setting_up(self, request: Any, call_s: float) -> tuple[Message, float] | None:
        match request:
            case setup.LoadRequest():
                load_s, described = self.workers.load_s, {"name": request.backend}
                return setup.LoadReply(
                    import_s=load_s, described=described, versions={}, kinds=self.workers.kinds
                ), load_s
            case timing.PrepareRequest():
                self.prepared[request.cell] = request
                if request.output is not None:
                    write_arrays(request.output, self.workers.outputs(self, request))
                reply = timing.PrepareReply(build_s=0.1, weights_s=0.1, compile_s=None, first_call_s=call_s)
                return reply, 0.2 + call_s
            case timing.WarmUpRequest():
                seconds = WARM_UP_CALLS * call_s
                return timing.WarmUpReply(warm_up=WarmUp(WARM_UP_CALLS, seconds, True, call_s, 1)), seconds
            case timing.SynchronizationRequest():
                check = SynchronizationCheck(True, 2.0, 0.0, call_s, "")
                fresh = FreshnessCheck(True, call_s, call_s, "")
                return timing.SynchronizationReply(check=check, fresh=fresh), 3 * call_s
        return None

    def _sampling(self, request: Any, call_s: float) -> tuple[Message, float] | None:
        match request:
            case timing.SampleRequest():
                settings = self.prepared[request.cell].sampling
                self.sampled = min(settings.samples, max(settings.min_samples, int(settings.max_round_s / call_s)))
                samples, seconds = (call_s,) * self.sampled, self.sampled * call_s
                return timing.SampleReply(samples_s=samples, observed=observed(seconds), elapsed_s=seconds), seconds
            case timing.FeedRequest():
                return setup.Done(), 0.0
            case timing.CollectRequest():
                write_arrays(request.output, {})
                return timing.CollectReply(
                    inputs=(),
                    deviation={},
                    num_read=1,
                    calls=self.sampled,
                    again=(False,) * self.sampled,
                    used_s=(call_s,) * self.sampled,
                    idle_after_s=0.0,
                ), 0.0
        return None

    def _in_turns(self, request: Any, call_s: float) -> tuple[Message, float] | None:
        match request:
            case timing.BeginTurnsRequest():
                return setup.Done(), 0.0
            case timing.TurnRequest():
                seconds = request.samples * call_s
                return timing.TurnReply(turn=Turn((call_s,) * request.samples, seconds, 0.0)), seconds
            case timing.EndTurnsRequest():
                return timing.EndTurnsReply(observed=observed(call_s), used_s=call_s), 0.0
        return None

    def _at_the_end(self, request: Any, call_s: float) -> tuple[Message, float] | None:
        match request:
            case sessions.CallsRequest():
                found = self.workers.outputs(self, self.prepared[request.session])
                write_arrays(request.output, {f"outputs/{name}": array for name, array in found.items()})
                return sessions.CallsReply(digests=("0",), deviation={}), call_s
            case timing.ReleaseRequest():
                self.prepared.pop(request.cell, None)
                return setup.Done(), 0.0
            case timing.YardsticksRequest():
                return timing.YardsticksReply(matrix_product_gflop_per_s=100.0, copy_gb_per_s=10.0), 1.0
            case timing.MachineRatesRequest():
                return timing.MachineRatesReply(operations_per_s=1e11, copied_bytes_per_s=1e11), 1.0
            case memory.NullMemoryRequest():
                return memory.NullMemoryReply(null_bytes=50 * 2**20), 0.1
            case memory.PeakMemoryRequest():
                reply = memory.PeakMemoryReply(peak_bytes=80 * 2**20, device_peak_bytes=None)
                return reply, request.calls * call_s
        return None

    def _training(self, request: Any, call_s: float) -> tuple[Message, float] | None:
        match request:
            case training.TrainRequest():
                return training.TrainReply(losses=self._losses(request), predictions=(0,), targets=(0,)), call_s
            case training.EvaluateRequest():
                count = len(request.images)
                return training.EvaluateReply(predictions=(0,) * count, leads=(1.0,) * count), call_s
            case training.LossesRequest():
                return training.LossesReply(losses=self._losses(request)), call_s
            case training.CrossingsRequest():
                return training.CrossingsReply(moves=()), call_s
        return None

    def _losses(self, request: Any) -> tuple[float, ...]:
        return tuple(1.0 / epoch for epoch in range(1, request.settings.epochs + 1))

    def _events(self, request: Any) -> tuple[Message, ...]:
        if not isinstance(request, training.TrainRequest):
            return ()
        return tuple(
            training.EpochEvent(
                epoch=Epoch(
                    epoch=i + 1,
                    step=i + 1,
                    train_loss=loss,
                    test_loss=loss,
                    test_accuracy=0.5,
                    seconds=self.latency_s(request),
                )
            )
            for i, loss in enumerate(self._losses(request))
        )

    def close(self, timeout_s: float = 10.0) -> None:
        self.kill()

    def abort(self) -> None:
        self.alive = False

    def kill(self) -> None:
        self.alive = False
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def zeros(request: timing.PrepareRequest) -> dict[str, Any]:
    """Outputs of the right names, shapes and type for the batch of a request."""
    batch = len(next(iter(read_arrays(request.batch).values())))
    shapes = request.graph.shapes(batch)
    dtype = np.float64 if request.options.precision.name == "float64" else np.float32
    return {name: np.zeros(shapes[value], dtype) for name, value in request.graph.outputs}


def observed(wall_s: float) -> Observation:
    """A quiet machine of which one processor was busy."""
    return Observation(wall_s, wall_s, 0.0, 2 * wall_s, 0, None, 0.0)
