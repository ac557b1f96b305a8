"""The timing pass: the workers of a comparison group side by side, one at a time, in randomised rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from cnnbench.errors import WorkerError
from cnnbench.harness.passes.findings import LaunchPart
from cnnbench.harness.passes.group_launch import GroupLaunch
from cnnbench.harness.passes.headroom import MemoryHeadroom
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.timing import YardsticksRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.spec.streams import stream


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
    own = launch < settings.launches  # further ones are short, and what they decide needs no yardsticks
    if own:
        session.yardsticks.append(machine(session))
    alive = {name: [cell for cell in group if cell.id not in session.failures] for name, group in groups.items()}
    chosen = controlled(alive, session.plan.suite.seed) if settings.controls else {}
    with Pool(session.plan.suite.timeouts.start_s, session.watch) as pool:
        headroom = MemoryHeadroom(pool)
        for name, group in groups.items():
            missing = _missing(session, group, launch)
            if missing and time.monotonic() < deadline:
                control = chosen.get(name)
                control = control if control in missing else None
                apart = len(missing) < len(group)
                GroupLaunch(session, pool, headroom, name, launch, settings, control=control, apart=apart).time(missing)
            if own:
                session.finished(len(group))
    if own:  # the better of two moments, so that what disturbed one does not count
        before, after = session.yardsticks[-1], machine(session)
        session.yardsticks[-1] = {name: max(item.get(name, 0.0) for item in (before, after)) for name in before | after}


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


def machine(session: Session) -> dict[str, float]:
    """The yardsticks, in a process of their own that is gone before anything is timed; empty where there are none."""
    if not session.plan.suite.measure.yardsticks:
        return {}
    limit_s = session.plan.suite.timeouts.call_s
    try:
        with session.watch.timing("yardsticks"), WorkerClient(WorkerSpec(None)) as worker:
            return worker.ask(YardsticksRequest(), timeout_s=limit_s).model_dump()
    except WorkerError as error:  # cells can be measured without them
        session.note(f"the yardsticks could not be measured: {error.message}")
        return {}
