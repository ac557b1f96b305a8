"""Randomised rounds: the programs of a comparison group one after another, the two sides of a cell in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from cnnbench.errors import CnnbenchError, StorageError
from cnnbench.harness.passes.events import RoundDone
from cnnbench.harness.passes.findings import Failure, Phases, Sample
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import LatencySettings
from cnnbench.harness.worker.interface import Worker
from cnnbench.harness.worker.origin import Origin
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.messages import ReplyT, Request
from cnnbench.harness.worker.protocol.timing import (
    BeginTurnsRequest,
    EndTurnsReply,
    EndTurnsRequest,
    SampleRequest,
    TurnRequest,
)
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.observation import processor_seconds
from cnnbench.spec.streams import stream

LEAST_ROUNDS = 3
IDLE_SHARE = 0.05  # of a processor, that idle workers together may use while another is timed
IDLE_TICKS_S = 0.02  # two ticks of the kernel's clock, below which nothing can be told


@dataclass
class Timed:
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

    def add(self, launch: int, number: int, latencies_s: Sequence[float]) -> None:
        """Takes further samples of a round."""
        index = sum(sample.round == number for sample in self.samples)
        self.samples.extend(
            Sample(launch=launch, round=number, index=index + i, latency_s=value) for i, value in enumerate(latencies_s)
        )

    def of_round(self, number: int) -> list[float]:
        """The samples of a round."""
        return [sample.latency_s for sample in self.samples if sample.round == number]


Restart = Callable[[Timed], Timed | Failure]
"""Prepares a program again whose worker has died."""


def rounds(
    session: Session,
    pool: Pool,
    name: str,
    ready: Sequence[Timed],
    launch: int,
    settings: LatencySettings,
    restart: Restart,
    first_round: int = 0,
) -> None:
    """The rounds of one launch of a group, as many as the suite asks for or its time allows.

    Args:
        session: The run under way.
        pool: Its workers.
        name: Of the group.
        ready: What is timed.
        launch: Counted from 0.
        settings: Of the suite.
        restart: Prepares a program again whose worker has died.
        first_round: The number of the first round.
    """
    budget_s = session.plan.suite.measure.budget_s
    share_s = budget_s / settings.launches if budget_s else None
    start = time.perf_counter()
    for number in range(first_round, first_round + settings.rounds):
        spent = time.perf_counter() - start
        if share_s is not None and number - first_round >= LEAST_ROUNDS and spent >= share_s:
            break
        taking_part = sorted(
            (timed for timed in ready if timed.open(session)), key=lambda timed: (timed.cell.id, timed.is_control)
        )
        generator = stream(session.plan.suite.seed, "rounds", name, launch * 10_000 + number)
        for block in round_order(taking_part, generator):
            for timed in block:
                with trying(session, pool, timed):
                    session.doing(
                        timed.cell, f"launch {launch + 1}: round {number - first_round + 1} of {settings.rounds}"
                    )
                    _revive(session, timed, launch, number, restart)
            alive = [timed for timed in block if timed.open(session)]
            if {"base", "head"} <= {timed.cell.side for timed in alive}:
                _in_turns(session, pool, alive, launch, number, settings, generator)
            else:
                for timed in alive:
                    with trying(session, pool, timed):
                        _sample(session, pool, timed, launch, number)
        medians = tuple(
            (timed.cell.id, median(found))
            for timed in taking_part
            if not timed.is_control and (found := timed.of_round(number))
        )
        session.emit(RoundDone(name, launch, number, medians))


def round_order(timed: Sequence[Timed], generator: Any) -> list[list[Timed]]:
    """Blocks in random order: a cell with its other side and its control, in random order too."""
    pairs: dict[str, list[Timed]] = {}
    for item in timed:
        pairs.setdefault(item.cell.key, []).append(item)
    blocks = list(pairs.values())
    return [_shuffled(blocks[position], generator) for position in generator.permutation(len(blocks))]


def _shuffled(block: Sequence[Timed], generator: Any) -> list[Timed]:
    return [block[i] for i in generator.permutation(len(block))] if len(block) > 1 else list(block)


def _revive(session: Session, timed: Timed, launch: int, number: int, restart: Restart) -> None:
    """Starts the worker again where it served another cell that took it down."""
    if timed.worker.alive:
        return
    again = restart(timed)
    if isinstance(again, Failure):
        timed.fail(session, again)
        return
    timed.worker = again.worker
    timed.notes.append(f"launch {launch}: the worker was started again in round {number}")


def _sample(session: Session, pool: Pool, timed: Timed, launch: int, number: int) -> None:
    """One program's round: all of its samples, one right after the other."""
    with _others_idle(pool, [timed]), session.watch.timing("samples"):
        reply = ask(session, pool, timed.spec, SampleRequest(cell=timed.cell.id))
    timed.observations.append(asdict(reply.observed))
    timed.add(launch, number, reply.samples_s)


def _in_turns(
    session: Session,
    pool: Pool,
    block: Sequence[Timed],
    launch: int,
    number: int,
    settings: LatencySettings,
    generator: Any,
) -> None:
    """The round of a cell's two sides: a sample of each in random order, again and again.

    What slows the machine for tenths of a second hits neighbouring samples of both sides alike, and cancels in their
    ratio. A process that goes on spinning after its work gets more samples at a turn, so that no more time goes by
    in waiting for it than in sampling.
    """
    for timed in block:
        with trying(session, pool, timed):
            ask(session, pool, timed.spec, BeginTurnsRequest(cell=timed.cell.id))
    at_a_turn, taken, start = 1, 0, time.perf_counter()
    with _others_idle(pool, block), session.watch.timing("samples"):
        while taken < settings.samples:
            if taken >= settings.min_samples and time.perf_counter() - start >= settings.max_round_s * len(block):
                break
            count = min(at_a_turn, settings.samples - taken)
            waits = []
            for timed in _shuffled(block, generator):
                if not timed.open(session):
                    continue
                with trying(session, pool, timed):
                    turn = ask(session, pool, timed.spec, TurnRequest(cell=timed.cell.id, samples=count)).turn
                    timed.add(launch, number, turn.samples_s)
                    waits.append(turn.idle_after_s / max(turn.wall_s, 1e-9) * count)
            taken += count
            at_a_turn = max(1, math.ceil(max(waits, default=0.0)))
    ended: list[tuple[Timed, EndTurnsReply]] = []
    for timed in block:
        if timed.open(session):
            with trying(session, pool, timed):
                ended.append((timed, ask(session, pool, timed.spec, EndTurnsRequest(cell=timed.cell.id))))
    used_s = sum(reply.used_s for _, reply in ended)
    for timed, reply in ended:
        observed, neighbours_s = asdict(reply.observed), used_s - reply.used_s
        if observed["foreign_s"] is not None:
            observed["foreign_s"] = max(0.0, observed["foreign_s"] - neighbours_s)
        timed.observations.append(observed)


@contextmanager
def _others_idle(pool: Pool, block: Sequence[Timed]) -> Iterator[None]:
    """Notes where workers that have nothing to do used a processor meanwhile."""
    busy = {timed.spec for timed in block}
    idle = idle_use([worker.pid for worker in pool.others(busy)])
    start = time.perf_counter()
    yield
    if idle() > IDLE_TICKS_S + IDLE_SHARE * (time.perf_counter() - start):
        for timed in block:
            timed.notes.append("idle workers used a processor during a round")


def idle_use(pids: Sequence[int]) -> Callable[[], float]:
    """Starts counting the processor time of processes that should be idle; the function returned ends it."""
    before = {pid: processor_seconds(pid) for pid in pids}

    def end() -> float:
        after = {pid: processor_seconds(pid) for pid in pids}
        return sum((after[pid] or 0.0) - (before[pid] or 0.0) for pid in pids if after[pid] is not None)

    return end


def trying(session: Session, pool: Pool, timed: Timed) -> Any:
    """Work on a cell, which a failure ends, or on a control, which ends alone."""
    if not timed.is_control:
        return guarded(session, pool, timed.cell)
    return spared(session, timed.cell, timed.lose)


def guarded(session: Session, pool: Pool, cell: Cell) -> Any:
    """Work on a cell, which a failure ends."""
    return session.guarded(cell, lambda: pool.peek(session.spec(cell)))


@contextmanager
def spared(session: Session, cell: Cell, lost: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Work on the control of a cell: whatever goes wrong ends the control (``lost``), is noted, and nothing else."""
    try:
        yield
    except StorageError:  # the cell's own part could not be written either
        raise
    except Exception as error:
        lost()
        reason = error.message if isinstance(error, CnnbenchError) else repr(error)
        session.note(f"{cell.id} has no control: {reason}")


def ask(session: Session, pool: Pool, spec: WorkerSpec, request: Request[ReplyT]) -> ReplyT:
    """The reply to a request about a prepared program, of the worker that holds it."""
    return pool.get(spec).worker.ask(request, timeout_s=session.plan.suite.timeouts.call_s)
