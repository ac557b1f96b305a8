"""What plugin hooks of a run receive and give: recorders, metrics, and the values of a run's start and end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cnnbench.harness.run.record import Record
    from cnnbench.harness.run.summary import Summary
    from cnnbench.harness.suite.plan import Plan


@dataclass(frozen=True)
class StartedRun:
    """A run whose folder exists and whose first cell has not begun.

    Args:
        id: ``<utc>-<random>``, the folder's name. folder: where everything is written.
        environment: As in ``environment.json``.
    """

    id: str
    folder: Path
    plan: Plan
    environment: Mapping[str, Any]


@dataclass(frozen=True)
class FinishedRun:
    """A run whose last record is on disk."""

    id: str
    folder: Path
    plan: Plan
    environment: Mapping[str, Any]
    records: tuple[Record, ...]
    summary: Summary


class Recorder(Protocol):
    """Sends what a run wrote somewhere else. It reads records; it cannot change or lose them.

    One that raises in any of the three is named in a note and left out of the rest of the run.
    """

    def started(self, run: StartedRun) -> None:
        """Before the first cell: a place to find out early that a server does not answer."""

    def recorded(self, record: Record, folder: Path) -> None:
        """Once for each cell, after its record is in ``folder``."""

    def finished(self, run: FinishedRun) -> Mapping[str, str]:
        """After the last cell. Returns links to show, by label."""


@dataclass(frozen=True)
class Metric:
    """A figure derived from a record, stored in ``Record.metrics``, shown in tables and logged.

    Args:
        name: Short, with its unit: ``images_per_joule``.
        unit: For headings. higher_is_better: for colours and gates.
        compute: The figure, or None where the record has not what it needs.
    """

    name: str
    unit: str
    compute: Callable[[Record], float | None]
    higher_is_better: bool = True
