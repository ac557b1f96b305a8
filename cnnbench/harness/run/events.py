"""What listeners hear of a run: its start, each record, its end, and everything that its passes report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cnnbench.harness.passes.events import PassEvent
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell


@dataclass(frozen=True)
class RunStarted:
    """The run's folder exists. Args: work: how many units ``UnitsDone`` will count to."""

    folder: Path
    cells: tuple[Cell, ...]
    work: int


@dataclass(frozen=True)
class CellRecorded:
    """A cell's record is on disk in ``folder``. Args: resumed: whether an earlier run wrote it."""

    record: Record
    folder: Path
    resumed: bool = False


@dataclass(frozen=True)
class RunFinished:
    """Summary and records are on disk."""

    folder: Path
    exit_code: int


Event = RunStarted | CellRecorded | RunFinished | PassEvent
Listener = Callable[[Event], None]
