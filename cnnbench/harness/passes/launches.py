"""Which launches a run makes: as many as its suite says, then more of the cells that are undecided."""

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
    """One launch with the cells that take part.

    Args:
        number: Counted from 0.
        deadline: On the machine's clock: no group is begun after it.
    """

    number: int
    cells: tuple[Cell, ...]
    deadline: float = math.inf


def launches(facts: Callable[[], PassFacts], cells: Sequence[Cell], report: Report) -> Iterator[Launch]:
    """Every launch, one after another; the caller makes each before it asks for the next.

    Example: a suite asks for 2 launches, and sequentially for up to 6. Launches 0 and 1 have all cells. If resnet18 is
    decided then and resnet50 is not, launch 2 has the cells of resnet50 alone. If launch 2 shows that the machine is
    noisier than it seemed, resnet18 may come open again: it then makes launch 2 before anyone makes launch 3.

    Sampling ends where no cell is undecided, each undecided one has its most launches, or the time is spent.

    Args:
        facts: What is known at the moment.
        cells: That are timed; both sides of each in an A/B run.
        report: Takes what is found about the sampling itself.
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
    """Launches of what is undecided, asked of all cells each time."""
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
    """By the cell's key: the first launch that one of its sides lacks, for rounds pair by time."""
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
