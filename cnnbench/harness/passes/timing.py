"""The timing pass: the workers of a comparison group side by side, one at a time, in randomised rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cnnbench.errors import WorkerError
from cnnbench.harness.passes.events import Report, YardsticksMeasured
from cnnbench.harness.passes.facts import PassFacts
from cnnbench.harness.passes.group_launch import GroupLaunch
from cnnbench.harness.passes.headroom import MemoryHeadroom
from cnnbench.harness.passes.launches import Launch
from cnnbench.harness.passes.members import GroupWork, TimedGroup
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.model import LatencySettings
from cnnbench.harness.worker.protocol.timing import YardsticksRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.spec.streams import stream

Groups = Mapping[Key, Sequence[Cell]]


def timing_pass(facts: PassFacts, launch: Launch, report: Report) -> None:
    """One launch: fresh workers serve every group in turn; cells that have this launch already are left alone.

    Args:
        facts: What is known of the run.
        launch: Its number and its cells: whole comparison groups, or the pairs of them that go on.
        report: Takes what is found.
    """
    settings = facts.suite.measure.latency
    if settings is None:
        return
    groups = comparison_groups(launch.cells)
    with Work(facts, report) as work:
        if launch.number >= settings.launches:  # those that follow are short, and what they decide needs no yardsticks
            _time_groups(work, groups, launch, settings)
            return
        before = yardsticks(work)
        _time_groups(work, groups, launch, settings)
        after = yardsticks(work)
        # The better of two moments, so that what disturbed one does not count.
        best = {name: max(item.get(name, 0.0) for item in (before, after)) for name in before | after}
        report(YardsticksMeasured(tuple(best.items())))


def comparison_groups(cells: Iterable[Cell]) -> dict[Key, list[Cell]]:
    """The cells that are timed, by comparison group."""
    groups: dict[Key, list[Cell]] = {}
    for cell in cells:
        if "latency" in cell.measure:
            groups.setdefault(cell.comparison_group, []).append(cell)
    return groups


def _time_groups(work: Work, groups: Groups, launch: Launch, settings: LatencySettings) -> None:
    alive = {key: [cell for cell in group if work.is_open(cell)] for key, group in groups.items()}
    chosen = controlled(alive, work.facts.suite.seed) if settings.controls else {}
    with work.pool() as pool:
        headroom = MemoryHeadroom(pool)
        for key, group in groups.items():
            missing = _missing(work, group, launch.number)
            if missing and work.facts.machine.clock.now() < launch.deadline:
                control = chosen.get(key)
                timed = TimedGroup(
                    name=group[0].group,
                    launch=launch.number,
                    settings=settings,
                    control=control if control in missing else None,
                    apart=len(missing) < len(group),
                )
                GroupLaunch(GroupWork(work, pool, timed), headroom).time(missing)
            if launch.number < settings.launches:
                work.count(len(group))


def _missing(work: Work, group: Sequence[Cell], launch: int) -> list[Cell]:
    """The open cells of a group without this launch; with one side of a cell the other, for rounds pair by time."""
    lacking = {
        cell.key
        for cell in group
        if work.is_open(cell) and launch not in {part.launch for part in work.facts.found(cell).launches}
    }
    return [cell for cell in group if cell.key in lacking and work.is_open(cell)]


def controlled(groups: Groups, seed: int) -> dict[Key, Cell]:
    """One cell of each group, of as few backends as can be: each of them costs a worker more.

    A seeded order of the backends decides, so that no one's choice does.

    Args:
        groups: The open cells of each comparison group.
        seed: Of the suite.
    """
    series = sorted({cell.series for group in groups.values() for cell in group})
    order = stream(seed, "controls").permutation(len(series))
    rank = {series[position]: place for place, position in enumerate(order)}
    return {
        key: min(group, key=lambda cell: (cell.side != "base", rank[cell.series]))
        for key, group in groups.items()
        if group
    }


def yardsticks(work: Work) -> dict[str, float]:
    """What the machine can do, in a process that is gone before anything is timed; {} where that is not measured."""
    if not work.facts.suite.measure.yardsticks:
        return {}
    limit_s = work.facts.suite.timeouts.call_s
    try:
        with work.watch.timing("yardsticks"), work.facts.machine.start_worker(WorkerSpec(None)) as worker:
            return dict(worker.ask(YardsticksRequest(), timeout_s=limit_s))
    except WorkerError as error:  # cells can be measured without them
        work.note(f"the yardsticks could not be measured: {error.message}")
        return {}
