"""The timing pass: the workers of a comparison group side by side, one at a time, in randomised rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnnbench.errors import WorkerError
from cnnbench.harness.checking import judge_outputs
from cnnbench.harness.link import Worker
from cnnbench.harness.parts import Failure, LaunchPart
from cnnbench.harness.pool import Pool, prepared
from cnnbench.harness.processes import WorkerSpec
from cnnbench.harness.record import Cell, Phases
from cnnbench.harness.rounds import Timed, ask, guarded, rounds, spared, trying
from cnnbench.harness.session import Session
from cnnbench.harness.suite import LatencySettings
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import digest


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
    ready: dict[str, Timed] = {}
    order = stream(session.plan.suite.seed, "start", name, launch).permutation(len(cells))
    for cell in (cells[position] for position in order):  # who starts first may be faster, or slower
        with guarded(session, pool, cell):
            started = _start(session, pool, cell, launch, settings, session.spec(cell))
            if isinstance(started, Failure):
                session.fail(cell, started)
            else:
                ready[cell.id] = started
    twin = _start_control(session, pool, control, launch, settings) if control and control.id in ready else None
    taking_part = [*ready.values(), *([twin] if twin else [])]

    def restart(timed: Timed) -> Timed | Failure:
        return _start(session, pool, timed.cell, launch, settings, timed.spec)

    rounds(session, pool, name, taking_part, launch, settings, restart)
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
            with trying(session, pool, timed):
                ask(session, pool, timed.spec, timed.cell, "release")


def _start_control(session: Session, pool: Pool, cell: Cell, launch: int, settings: LatencySettings) -> Timed | None:
    """The same program as ``cell`` in another worker; None where there is none, which costs the cell nothing."""
    spec = replace(session.spec(cell), side="control")
    started: Timed | Failure = Failure(status="error", reason="it could not be started")
    with spared(session, cell):
        started = _start(session, pool, cell, launch, settings, spec)
        if isinstance(started, Failure):
            session.note(f"{cell.id} has no control: {started.reason}")
    if isinstance(started, Failure):
        return None
    started.is_control = True
    return started


def _start(
    session: Session, pool: Pool, cell: Cell, launch: int, settings: LatencySettings, spec: WorkerSpec
) -> Timed | Failure:
    """Prepares and warms up a program, or says what is wrong with it."""
    session.doing(cell, f"launch {launch + 1}: prepare")
    loaded = pool.get(spec)
    made = prepared(session, loaded, cell, sampling_settings(settings), output=True)
    failure = judge_outputs(session.materials.of(cell).graph, cell, made["outputs"])
    if failure is not None:
        return failure
    with session.watch.timing("warm_up"):
        warm = ask(session, pool, spec, cell, "warm_up")
        notes = [] if warm["steady"] else [f"launch {launch}: no steady state in {warm['calls']} calls"]
        if launch == 0:
            check = ask(session, pool, spec, cell, "check_synchronization", call_s=warm["call_s"])
            if not check["passed"]:
                reason = f"synchronize() does not wait for the work: {check['message']}"
                return Failure(status="error", reason=reason)
    phases = Phases(**made["phases"], warmup_s=warm["seconds"], warmup_calls=warm["calls"])
    return Timed(
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
