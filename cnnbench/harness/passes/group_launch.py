"""One launch of a comparison group: its programs started, timed beside each other, written down and released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnbench.harness.passes.checks import judge_outputs
from cnnbench.harness.passes.findings import Failure, LaunchPart
from cnnbench.harness.passes.headroom import MemoryHeadroom
from cnnbench.harness.passes.preparation import prepare
from cnnbench.harness.passes.rounds import Timed, ask, guarded, rounds, spared, trying
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import LatencySettings
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.timing import ReleaseRequest, SynchronizationRequest, WarmUpRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import digest

LEAST_BLOCKS = 2  # one would be compared with nothing, whatever memory there is


class GroupLaunch:
    """One launch of a comparison group.

    Args:
        session: The run under way.
        pool: Its workers.
        headroom: How much memory they may still take.
        name: Of the group.
        launch: Counted from 0.
        settings: Of the suite.
        control: The cell that is timed in a second worker, too.
        apart: Whether a part of the group alone is timed.
    """

    def __init__(
        self,
        session: Session,
        pool: Pool,
        headroom: MemoryHeadroom,
        name: str,
        launch: int,
        settings: LatencySettings,
        *,
        control: Cell | None,
        apart: bool,
    ) -> None:
        self._session = session
        self._pool = pool
        self._name = name
        self._launch = launch
        self._settings = settings
        self._control = control
        self._apart = apart
        self._headroom = headroom
        self._twin: Timed | None = None

    def time(self, cells: Sequence[Cell]) -> None:
        """Times cells beside each other; in parts where memory has no room for all of them.

        Each part holds the same anchor, the cell that started first with its other side: ratios between cells of
        different parts go through it. Later launches start with it again. The rounds of each part have numbers of
        their own.
        """
        waiting = self._blocks(cells)
        anchor: list[Timed] = []
        number = 0
        while waiting:
            present = [timed for timed in anchor if timed.open(self._session)]
            new = self._started(waiting, present)
            if waiting and new and not present:
                self._session.anchors.setdefault(self._name, new[0].cell.key)
                anchor = [timed for timed in new if timed.cell.key == new[0].cell.key and not timed.is_control]
            first, number = number * self._settings.rounds, number + 1
            self._time([*present, *new], first)
            kept = anchor if waiting else []
            ended = [timed for timed in (*present, *new) if timed not in kept]
            for timed in ended:
                if not timed.is_control and self._session.open(timed.cell):
                    self._write(timed)
            self._release(ended)
            if waiting:
                self._pool.keep({timed.spec for timed in kept})
        if number > 1 and self._launch == 0:
            through = anchor[0].cell.id if anchor else "nothing"
            self._session.note(
                f"group {self._name} was timed in {number} parts, for memory has no room for all of it at once: "
                f"ratios between them go through {through}"
            )

    def _time(self, ready: Sequence[Timed], first: int) -> None:
        rounds(
            self._session, self._pool, self._name, ready, self._launch, self._settings, self._again, first_round=first
        )

    def _blocks(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """The sides of each cell, in random order: who starts first may be faster, or slower."""
        generator = stream(self._session.plan.suite.seed, "start", self._name, self._launch)
        blocks: dict[str, list[Cell]] = {}
        for position in generator.permutation(len(cells)):
            blocks.setdefault(cells[position].key, []).append(cells[position])
        anchor = self._session.anchors.get(self._name)
        return [blocks[key] for key in sorted(blocks, key=lambda key: key != anchor)]

    def _started(self, waiting: list[list[Cell]], present: Sequence[Timed]) -> list[Timed]:
        """Programs of the first blocks of ``waiting``, which it shortens: two beside each other, and as many as fit."""
        started: list[Timed] = []
        blocks = 1 if present else 0
        while waiting and (blocks < LEAST_BLOCKS or self._fits([*present, *started])):
            for cell in waiting.pop(0):
                started += self._with_control(cell)
            blocks += 1
        return started

    def _fits(self, busy: Sequence[Timed]) -> bool:
        """Whether another program fits, if need be without the workers that have nothing to do."""
        if not self._headroom.has_left():
            self._pool.keep({timed.spec for timed in busy})
        return self._headroom.has_left()

    def _with_control(self, cell: Cell) -> list[Timed]:
        session, spec = self._session, self._session.spec(cell)
        ready: Timed | Failure = Failure(status="error", reason="it could not be started")
        with guarded(session, self._pool, cell), self._headroom.taken(spec):
            ready = start(session, self._pool, cell, self._launch, self._settings, spec)
            if isinstance(ready, Failure):
                session.fail(cell, ready)
        if isinstance(ready, Failure):
            return []
        if cell is not self._control:
            return [ready]
        self._twin = self._started_control(cell)
        return [ready, self._twin] if self._twin else [ready]

    def _started_control(self, cell: Cell) -> Timed | None:
        """The same program in another worker; None where there is none, which costs the cell nothing."""
        session = self._session
        spec = replace(session.spec(cell), side="control")
        started: Timed | Failure = Failure(status="error", reason="it could not be started")
        with spared(session, cell), self._headroom.taken(spec):
            started = start(session, self._pool, cell, self._launch, self._settings, spec)
            if isinstance(started, Failure):
                session.note(f"{cell.id} has no control: {started.reason}")
        if isinstance(started, Failure):
            return None
        started.is_control = True
        return started

    def _again(self, timed: Timed) -> Timed | Failure:
        return start(self._session, self._pool, timed.cell, self._launch, self._settings, timed.spec)

    def _write(self, timed: Timed) -> None:
        twin = self._twin
        part = LaunchPart(
            origin=timed.origin,
            launch=self._launch,
            phases=timed.phases,
            steady=timed.steady,
            calls_per_sample=timed.calls_per_sample,
            samples=tuple(timed.samples),
            observations=tuple(timed.observations),
            notes=tuple(timed.notes),
            outputs=timed.outputs,
            apart=self._apart,
            control=tuple(twin.samples) if twin and timed.cell is twin.cell else (),
        )
        self._session.store.write_part(timed.cell.id, f"launch-{self._launch}", part)

    def _release(self, ended: Sequence[Timed]) -> None:
        for timed in ended:
            if self._session.open(timed.cell):
                with trying(self._session, self._pool, timed):
                    ask(self._session, self._pool, timed.spec, ReleaseRequest(cell=timed.cell.id))


def start(
    session: Session, pool: Pool, cell: Cell, launch: int, settings: LatencySettings, spec: WorkerSpec
) -> Timed | Failure:
    """Prepares and warms up a program, or says what is wrong with it."""
    session.doing(cell, f"launch {launch + 1}: prepare")
    loaded = pool.get(spec)
    material, limit_s = session.materials.of(cell), session.plan.suite.timeouts.compile_s
    made = prepare(loaded, cell, material, settings.sampling(), timeout_s=limit_s, watch=session.watch)
    failure = judge_outputs(material.graph, cell, made.outputs)
    if failure is not None:
        return failure
    with session.watch.timing("warm_up"):
        warm = ask(session, pool, spec, WarmUpRequest(cell=cell.id)).warm_up
        notes = [] if warm.steady else [f"launch {launch}: no steady state in {warm.calls} calls"]
        if launch == 0:
            request = SynchronizationRequest(cell=cell.id, call_s=warm.call_s)
            check = ask(session, pool, spec, request).check
            if not check.passed:
                reason = f"synchronize() does not wait for the work: {check.message}"
                return Failure(status="error", reason=reason)
    phases = made.phases.model_copy(update={"warmup_s": warm.seconds, "warmup_calls": warm.calls})
    return Timed(
        cell,
        spec,
        loaded.worker,
        loaded.origin(cell),
        phases,
        warm.steady,
        warm.calls_per_sample,
        warm.call_s,
        digest(made.outputs),
        notes=notes,
    )
