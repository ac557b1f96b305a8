"""What a run tells its listeners while it goes on: plain frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnbench.harness.run.record import Record
    from cnnbench.harness.suite.cell import Cell
    from cnnbench.numerics.outcome import CheckOutcome
    from cnnbench.training.epoch import Epoch


@dataclass(frozen=True)
class RunBegan:
    """The run's folder exists. ``work`` is how many units ``WorkDone`` will count to."""

    folder: Path
    cells: tuple[Cell, ...]
    work: int


@dataclass(frozen=True)
class Doing:
    """What goes on now, in a few words: ``resnet18-torch-eager-b1: compile``."""

    text: str
    cell: str | None = None


@dataclass(frozen=True)
class WorkDone:
    """Units of work that are done or no longer needed."""

    units: int = 1


@dataclass(frozen=True)
class CheckDone:
    """A numerical check of a cell has an outcome."""

    cell: str
    outcome: CheckOutcome


@dataclass(frozen=True)
class RoundDone:
    """A round of a comparison group is over: the median latency of each of its cells in it."""

    group: str
    launch: int
    round: int
    medians_s: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class EpochDone:
    """A cell that trains has finished an epoch."""

    cell: str
    epoch: Epoch


@dataclass(frozen=True)
class CellDone:
    """A cell's record is on disk in ``folder``. ``resumed`` says that an earlier run wrote it."""

    record: Record
    folder: Path
    resumed: bool = False


@dataclass(frozen=True)
class Note:
    """Something that a reader should know: a worker that was started again, a recorder that failed."""

    text: str


@dataclass(frozen=True)
class RunEnded:
    """Summary and records are on disk."""

    folder: Path
    exit_code: int


Event = RunBegan | Doing | WorkDone | CheckDone | RoundDone | EpochDone | CellDone | Note | RunEnded
Listener = Callable[[Event], None]
