"""The timing pass: the workers of a comparison group side by side, one at a time, in randomised rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from cnnbench.errors import CnnbenchError, StorageError, WorkerError
from cnnbench.harness.checking import judge_outputs
from cnnbench.harness.events import RoundDone
from cnnbench.harness.link import Worker
from cnnbench.harness.parts import Failure, LaunchPart, Origin
from cnnbench.harness.pool import Pool, prepared
from cnnbench.harness.processes import WorkerSpec
from cnnbench.harness.record import Cell, Phases, Sample
from cnnbench.harness.session import Session
from cnnbench.harness.suite import LatencySettings
from cnnbench.measurement.observation import processor_seconds
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import digest

LEAST_ROUNDS = 3
IDLE_SHARE = 0.05  # of a processor, that idle workers together may use while another is timed
IDLE_TICKS_S = 0.02  # two ticks of the kernel's clock, below which nothing can be told


@dataclass
class _Timed:
    """A cell of a group in one launch, or the control of one: the same program in another worker."""

    cell: Cell
    spec: WorkerSpec
    worker: Worker
    origin: Origin
    phases: Phases
    steady: bool
    calls_per_sample: int
    call_s: float
    outputs: str
    samples: list[Sample] = field(default_factory=list)
    observations: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_control: bool = False
    lost: bool = False

    def open(self, session: Session) -> bool:
        """Whether it is still to be sampled."""
        return session.open(self.cell) and not self.lost

    def lose(self) -> None:
        """Ends a control."""
        self.lost = True

    def fail(self, session: Session, failure: Failure) -> None:
        """Ends the cell, or the control alone."""
        if self.is_control:
            self.lose()
        else:
            session.fail(self.cell, failure)


def timing_pass(session: Session, cells: Sequence[Cell], launch: int, deadline: float = math.inf) -> None:
    """One launch: fresh workers serve every group in turn; cells that have this launch's part are left alone.

    Args:
        session: The run under way.
        cells: Whole comparison groups, or the pairs of them that go on.
        launch: Counted from 0.
        deadline: On the clock of ``time.monotonic``: no group is begun after it.
    """
    settings = session.plan.suite.measure.latency
    if settings is None:
        return
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if "latency" in cell.measure:
            groups.setdefault(cell.group, []).append(cell)
    measure_machine(session)
    alive = {name: [cell for cell in group if cell.id not in session.failures] for name, group in groups.items()}
    chosen = controlled(alive, session.plan.suite.seed) if settings.controls else {}
    with Pool(session) as pool:
        for name, group in groups.items():
            missing = _missing(session, group, launch)
            if missing and time.monotonic() < deadline:
                control = chosen.get(name)
                control = control if control in missing else None
                apart = len(missing) < len(group)
                _time_group(session, pool, name, missing, launch, settings, control=control, apart=apart)
            if launch < settings.launches:
                session.finished(len(group))


def _missing(session: Session, group: Sequence[Cell], launch: int) -> list[Cell]:
    """The open cells of a group without this launch; with one side of a cell the other, for rounds pair by time."""
    lacking = {
        cell.key
        for cell in group
        if session.open(cell) and session.store.read_part(cell.id, f"launch-{launch}", LaunchPart) is None
    }
    return [cell for cell in group if cell.key in lacking and session.open(cell)]


def controlled(groups: Mapping[str, Sequence[Cell]], seed: int) -> dict[str, Cell]:
    """One cell of each group, of as few backends as can be: each of them costs a worker more.

    A seeded order of the backends decides, so that no one's choice does.
    """
    series = sorted({cell.series for group in groups.values() for cell in group})
    order = stream(seed, "controls").permutation(len(series))
    rank = {series[position]: place for place, position in enumerate(order)}
    return {
        name: min(group, key=lambda cell: (cell.side != "base", rank[cell.series]))
        for name, group in groups.items()
        if group
    }


def measure_machine(session: Session) -> None:
    """The yardsticks, in a process of their own that is gone before anything is timed."""
    if not session.plan.suite.measure.yardsticks:
        return
    limit_s = session.plan.suite.timeouts.call_s
    try:
        with session.watch.timing("yardsticks"), Worker(WorkerSpec(None)) as worker:
            session.yardsticks.append(worker.request("yardsticks", timeout_s=limit_s))
    except WorkerError as error:  # cells can be measured without them
        session.note(f"the yardsticks could not be measured: {error.message}")


def sampling_settings(settings: LatencySettings) -> dict[str, Any]:
    """What a worker is told of sampling."""
    return {
        "samples": settings.samples,
        "min_samples": min(settings.min_samples, settings.samples),
        "max_round_s": settings.max_round_s,
        "window": settings.warmup.window,
        "tolerance": settings.warmup.tolerance,
        "max_warmup_samples": settings.warmup.max_calls,
        "max_warmup_s": settings.warmup.max_s,
    }


def _time_group(
    session: Session,
    pool: Pool,
    name: str,
    cells: Sequence[Cell],
    launch: int,
    settings: LatencySettings,
    *,
    control: Cell | None,
    apart: bool,
) -> None:
    ready: dict[str, _Timed] = {}
    for cell in cells:
        with _guarded(session, pool, cell):
            started = _start(session, pool, cell, launch, settings, session.spec(cell))
            if isinstance(started, Failure):
                session.fail(cell, started)
            else:
                ready[cell.id] = started
    twin = _start_control(session, pool, control, launch, settings) if control and control.id in ready else None
    taking_part = [*ready.values(), *([twin] if twin else [])]
    _rounds(session, pool, name, taking_part, launch, settings)
    for timed in ready.values():
        if not session.open(timed.cell):
            continue
        part = LaunchPart(
            origin=timed.origin,
            launch=launch,
            phases=timed.phases,
            steady=timed.steady,
            calls_per_sample=timed.calls_per_sample,
            samples=tuple(timed.samples),
            observations=tuple(timed.observations),
            notes=tuple(timed.notes),
            outputs=timed.outputs,
            apart=apart,
            control=tuple(twin.samples) if twin and timed.cell is twin.cell else (),
        )
        session.store.write_part(timed.cell.id, f"launch-{launch}", part)
    for timed in taking_part:
        if session.open(timed.cell):
            with _trying(session, pool, timed):
                _ask(session, pool, timed.spec, timed.cell, "release")


def _start_control(session: Session, pool: Pool, cell: Cell, launch: int, settings: LatencySettings) -> _Timed | None:
    """The same program as ``cell`` in another worker; None where there is none, which costs the cell nothing."""
    spec = replace(session.spec(cell), side="control")
    started: _Timed | Failure = Failure(status="error", reason="it could not be started")
    with _spared(session, cell):
        started = _start(session, pool, cell, launch, settings, spec)
        if isinstance(started, Failure):
            session.note(f"{cell.id} has no control: {started.reason}")
    if isinstance(started, Failure):
        return None
    started.is_control = True
    return started


def _guarded(session: Session, pool: Pool, cell: Cell) -> Any:
    return session.guarded(cell, lambda: pool.peek(session.spec(cell)))


@contextmanager
def _spared(session: Session, cell: Cell, lost: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Work on the control of a cell: whatever goes wrong ends the control (``lost``), is noted, and nothing else."""
    try:
        yield
    except StorageError:  # the cell's own part could not be written either
        raise
    except Exception as error:
        lost()
        reason = error.message if isinstance(error, CnnbenchError) else repr(error)
        session.note(f"{cell.id} has no control: {reason}")


def _trying(session: Session, pool: Pool, timed: _Timed) -> Any:
    """Work on a cell, which a failure ends, or on a control, which ends alone."""
    if not timed.is_control:
        return _guarded(session, pool, timed.cell)
    return _spared(session, timed.cell, timed.lose)


def _ask(session: Session, pool: Pool, spec: WorkerSpec, cell: Cell, method: str, **parameters: Any) -> dict[str, Any]:
    """A request about a prepared cell to the worker that holds it."""
    worker = pool.get(spec).worker
    return worker.request(method, timeout_s=session.plan.suite.timeouts.call_s, cell=cell.id, **parameters)


def _start(
    session: Session, pool: Pool, cell: Cell, launch: int, settings: LatencySettings, spec: WorkerSpec
) -> _Timed | Failure:
    """Prepares and warms up a program, or says what is wrong with it."""
    session.doing(cell, f"launch {launch + 1}: prepare")
    loaded = pool.get(spec)
    made = prepared(session, loaded, cell, sampling_settings(settings), output=True)
    failure = judge_outputs(session.materials.of(cell).graph, cell, made["outputs"])
    if failure is not None:
        return failure
    with session.watch.timing("warm_up"):
        warm = _ask(session, pool, spec, cell, "warm_up")
        notes = [] if warm["steady"] else [f"launch {launch}: no steady state in {warm['calls']} calls"]
        if launch == 0:
            check = _ask(session, pool, spec, cell, "check_synchronization", call_s=warm["call_s"])
            if not check["passed"]:
                reason = f"synchronize() does not wait for the work: {check['message']}"
                return Failure(status="error", reason=reason)
    phases = Phases(**made["phases"], warmup_s=warm["seconds"], warmup_calls=warm["calls"])
    return _Timed(
        cell,
        spec,
        loaded.worker,
        loaded.origin(cell),
        phases,
        warm["steady"],
        warm["calls_per_sample"],
        warm["call_s"],
        digest(made["outputs"]),
        notes=notes,
    )


def _rounds(
    session: Session, pool: Pool, name: str, ready: Sequence[_Timed], launch: int, settings: LatencySettings
) -> None:
    budget_s = session.plan.suite.measure.budget_s
    share_s = budget_s / settings.launches if budget_s else None
    start = time.perf_counter()
    for number in range(settings.rounds):
        spent = time.perf_counter() - start
        if share_s is not None and number >= LEAST_ROUNDS and spent >= share_s:
            break
        taking_part = sorted(
            (timed for timed in ready if timed.open(session)), key=lambda timed: (timed.cell.id, timed.is_control)
        )
        generator = stream(session.plan.suite.seed, "rounds", name, launch * 10_000 + number)
        for timed in round_order(taking_part, generator):
            with _trying(session, pool, timed):
                session.doing(timed.cell, f"launch {launch + 1}: round {number + 1} of {settings.rounds}")
                if not timed.worker.alive:  # it served another cell, which took it down
                    again = _start(session, pool, timed.cell, launch, settings, timed.spec)
                    if isinstance(again, Failure):
                        timed.fail(session, again)
                        continue
                    timed.worker = again.worker
                    timed.notes.append(f"launch {launch}: the worker was started again in round {number}")
                _sample(session, pool, timed, launch, number)
        medians = tuple(
            (timed.cell.id, median(found))
            for timed in taking_part
            if not timed.is_control and (found := _of_round(timed, number))
        )
        session.emit(RoundDone(name, launch, number, medians))


def round_order(timed: Sequence[_Timed], generator: Any) -> list[_Timed]:
    """A random order in which the two sides of a cell follow each other, in random order too."""
    pairs: dict[str, list[_Timed]] = {}
    for item in timed:
        pairs.setdefault(item.cell.key, []).append(item)
    blocks = list(pairs.values())
    order = [blocks[position] for position in generator.permutation(len(blocks))]
    return [
        block[i]
        for block in order
        for i in (generator.permutation(len(block)) if len(block) > 1 else range(len(block)))
    ]


def _of_round(timed: _Timed, number: int) -> list[float]:
    return [sample.latency_s for sample in timed.samples if sample.round == number]


def _sample(session: Session, pool: Pool, timed: _Timed, launch: int, number: int) -> None:
    idle = idle_use([worker.pid for worker in pool.others(timed.spec)])
    with session.watch.timing("samples"):
        reply = _ask(session, pool, timed.spec, timed.cell, "sample")
    used_s = idle()
    if used_s > IDLE_TICKS_S + IDLE_SHARE * reply["observed"]["wall_s"]:
        timed.notes.append("idle workers used a processor during a round")
    timed.observations.append(reply["observed"])
    timed.samples.extend(
        Sample(launch=launch, round=number, index=index, latency_s=value)
        for index, value in enumerate(reply["samples_s"])
    )


def idle_use(pids: Sequence[int]) -> Callable[[], float]:
    """Starts counting the processor time of processes that should be idle; the function returned ends it."""
    before = {pid: processor_seconds(pid) for pid in pids}

    def end() -> float:
        after = {pid: processor_seconds(pid) for pid in pids}
        return sum((after[pid] or 0.0) - (before[pid] or 0.0) for pid in pids if after[pid] is not None)

    return end
