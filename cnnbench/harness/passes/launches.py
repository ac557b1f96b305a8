"""Which launches a run makes: as many as its suite says, then more of the cells that are undecided."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell


@dataclass(frozen=True)
class Launch:
    """One launch, counted from 0, with the cells that take part; no group of it begins after ``deadline``."""

    number: int
    cells: tuple[Cell, ...]
    deadline: float = math.inf


def launches(session: Session, cells: Sequence[Cell]) -> Iterator[Launch]:
    """Every launch, one after another; the caller makes each before it asks for the next.

    Sequential sampling spends rounds only where they decide something: after the suite's own launches, those cells go
    on that ``RunOptions.undecided`` names, until none is left, each has its most launches, or the time is spent. All
    cells are asked about each time: what was decided may come open again when others show that the machine is noisier,
    and then makes up for the launches that it missed.
    """
    settings = session.plan.suite.measure.latency
    if settings is None:
        return
    started = time.monotonic()
    for number in range(settings.launches):
        yield Launch(number, tuple(cells))
    if session.sampling_ended:
        return
    assert settings.sequential is not None
    deadline, most = started + settings.sequential.budget_s, settings.sequential.max_launches
    before = None
    while time.monotonic() < deadline:
        following = _following(session, _undecided(session, cells))
        number = min(following.values(), default=most)
        due = tuple(cell for cell in cells if following.get(cell.key) == number)
        launch = Launch(number, due, deadline)
        if number >= most or launch == before:  # the latter: nothing came of it
            break
        yield launch
        before = launch
    left = {cell.key for cell in _undecided(session, cells)}
    if left:
        end = "the time is spent" if time.monotonic() >= deadline else "each has its most launches"
        session.note(f"sampling ended with {len(left)} cells undecided: {end}")
    session.sampling_ended = True


def _following(session: Session, cells: Sequence[Cell]) -> dict[str, int]:
    """By the cell's key: the first launch that one of its sides lacks, for rounds pair by time."""
    following: dict[str, int] = {}
    for cell in cells:
        made = {part.launch for part in session.parts(cell.id).launches}
        lacking = next(number for number in itertools.count() if number not in made)
        following[cell.key] = min(lacking, following.get(cell.key, lacking))
    return following


def _undecided(session: Session, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Both sides of every cell on which more samples are worth taking."""
    assert session.options.undecided is not None
    timed = [cell for cell in cells if "latency" in cell.measure and session.open(cell)]
    keys = session.options.undecided([(cell, session.parts(cell.id).samples) for cell in timed])
    return tuple(cell for cell in timed if cell.key in keys)
