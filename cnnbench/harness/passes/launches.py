"""The launches of a run: the number that its suite asks for, then more for cells whose comparison is inconclusive."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cnnbench.harness.passes.events import NoteAdded, Report, SamplingEnded
from cnnbench.harness.passes.facts import PassFacts
from cnnbench.harness.suite.cell import Cell


@dataclass(frozen=True)
class Launch:
    """One launch: fresh processes in which some of the run's cells are timed.

    Args:
        number: Counted from 0.
        cells: The cells that are timed in it.
        deadline: Seconds on the machine's clock, after which no further group is started.
    """

    number: int
    cells: tuple[Cell, ...]
    deadline: float = math.inf


def launches(facts: Callable[[], PassFacts], cells: Sequence[Cell], report: Report) -> Iterator[Launch]:
    """Yields every launch of a run. The caller carries each one out before it asks for the next.

    Example: a suite asks for 2 launches, and by sequential sampling for up to 6. Launches 0 and 1 time all cells.
    Suppose that resnet18 is then decided and resnet50 is not: launch 2 times resnet50 alone. If launch 2 shows that the
    machine is noisier than it seemed, resnet18 may become undecided again. It then gets its own launch 2, before any
    cell gets a launch 3.

    Sampling ends when no cell is undecided, when every undecided cell has ``max_launches``, or when ``budget_s`` is
    spent.

    Args:
        facts: Returns what the run knows at the moment.
        cells: The timed cells, in an A/B run both sides of each.
        report: Receives notes on the sampling, and that it ended.
    """
    known = facts()
    settings, now = known.suite.measure.latency, known.machine.clock.now
    if settings is None:
        return
    started = now()
    for number in range(settings.launches):
        yield Launch(number, tuple(cells))
    if settings.sequential is not None and known.undecided is not None:
        deadline, most = started + settings.sequential.budget_s, settings.sequential.max_launches
        yield from _further(facts, cells, most, deadline)
        left = {cell.key for cell in _undecided(facts(), cells)}
        if left:
            end = "the time is spent" if now() >= deadline else "each has its most launches"
            report(NoteAdded(f"sampling ended with {len(left)} cells undecided: {end}"))
    report(SamplingEnded())


def _further(facts: Callable[[], PassFacts], cells: Sequence[Cell], most: int, deadline: float) -> Iterator[Launch]:
    """Further launches for undecided cells. Before each, all cells are judged again."""
    before = None
    while (known := facts()).machine.clock.now() < deadline:
        following = _following(known, _undecided(known, cells))
        number = min(following.values(), default=most)
        launch = Launch(number, tuple(cell for cell in cells if following.get(cell.key) == number), deadline)
        if number >= most or launch == before:  # the latter: nothing came of it
            return
        yield launch
        before = launch


def _following(facts: PassFacts, cells: Sequence[Cell]) -> dict[str, int]:
    """The next launch of each cell, by its key: the first that either side lacks, since both must share rounds."""
    following: dict[str, int] = {}
    for cell in cells:
        made = {part.launch for part in facts.found(cell).launches}
        lacking = next(number for number in itertools.count() if number not in made)
        following[cell.key] = min(lacking, following.get(cell.key, lacking))
    return following


def _undecided(facts: PassFacts, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Both sides of every cell on which more samples are worth taking."""
    if facts.undecided is None:
        return ()
    timed = [cell for cell in cells if "latency" in cell.measure and facts.is_open(cell)]
    keys = facts.undecided([(cell, facts.found(cell).samples) for cell in timed])
    return tuple(cell for cell in timed if cell.key in keys)
