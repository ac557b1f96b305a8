"""A finished run as values: all that gates and reports read of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnbench.harness.passes.findings import Sample
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.numerics.outcome import NodeUse


@dataclass(frozen=True)
class Evidence:
    """A run: its records with what lies beside them.

    Args:
        suite: The suite's name. run_id: the run's own id.
        records: In the plan's order. samples, budgets: by cell id.
        unrecorded: Cells of the plan of which there is no record, or none that can be read.
        environment: As captured when the run started. fingerprint: of the machine, for latency and memory.
        yardsticks: The machine's speed measured in the same run, by name; larger is faster.
        selected: Whether only a part of the suite was asked for, by backends, an expression or a shard.
        folder: Where it lies, or None for one that was never written.
        seconds, notes, links: As in the summary. settings: the suite as it was resolved.
        finished: Whether the run came to its summary.
    """

    suite: str
    run_id: str
    records: tuple[Record, ...]
    unrecorded: tuple[Cell, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    yardsticks: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    budgets: Mapping[str, tuple[NodeUse, ...]] = field(default_factory=dict)
    selected: bool = False
    folder: Path | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    finished: bool = True

    @property
    def missing(self) -> list[str]:
        """What a complete run has and this one has not: its summary, and records of planned cells."""
        records = [f"readable record of {cell.id}" for cell in self.unrecorded]
        return [*([] if self.finished else ["summary"]), *records]


def read_evidence(folder: Path) -> Evidence:
    """A run from its folder, finished or not. What cannot be read is named in ``notes``.

    Raises:
        SuiteError: There is no run. DataError: a file of it is damaged.
    """
    from cnnbench.harness.run.store import RunStore
    from cnnbench.harness.suite.plan import Filters
    from cnnbench.measurement.environment import fingerprint

    store = RunStore.open(folder)
    records = tuple(store.records().values())
    environment = store.read_environment()
    summary = store.read_summary() if (folder / "summary.json").exists() else None
    plan = store.read_plan() if (folder / "plan.json").exists() else None
    recorded = {record.cell.id for record in records}
    return Evidence(
        suite=plan.suite.name if plan else folder.resolve().parent.name,
        run_id=store.id,
        records=records,
        unrecorded=tuple(cell for cell in plan.cells if cell.id not in recorded) if plan else (),
        environment=environment,
        fingerprint=fingerprint(environment) if environment else "",
        yardsticks=summary.yardsticks if summary else {},
        samples={record.cell.id: tuple(store.read_samples(record.cell.id)) for record in records},
        budgets={record.cell.id: tuple(store.read_numerics(record.cell.id)) for record in records},
        selected=plan is not None and plan.filters != Filters(),
        folder=folder,
        seconds=summary.seconds if summary else {},
        notes=(*(summary.notes if summary else ()), *store.problems),
        links=summary.links if summary else {},
        settings=plan.suite.model_dump(mode="json") if plan else {},
        finished=summary is not None,
    )
