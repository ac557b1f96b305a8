"""``summary.json``: the outcome of a run in one file with a published schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from cnnbench.harness.run.claim_records import ClaimRow
from cnnbench.harness.run.exit_codes import DEFECT, INCONCLUSIVE, INTERRUPTED, OK, worst
from cnnbench.harness.run.record import SCHEMA_VERSION, Interval, Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.status import Status
from cnnbench.spec.frozen import Frozen

CATEGORIES: tuple[Status, ...] = Status.__args__  # type: ignore[attr-defined]


class Row(Frozen):
    """A cell in the table of results.

    Args:
        budget_used: Largest fraction of the sharp error budget over the checks that state one.
        checks: Outcome by name of check.
    """

    id: str
    architecture: str
    backend: str
    mode: str
    batch: int
    precision: str
    status: Status
    reason: str | None = None
    budget_used: float | None = None
    checks: dict[str, str] = Field(default_factory=dict)
    median_s: Interval | None = None
    throughput_images_per_s: Interval | None = None
    peak_bytes: int | None = None
    compile_s: float | None = None
    test_accuracy: float | None = None


class Summary(Frozen):
    """What became of a run.

    Args:
        categories: For every status, the ids of its cells (empty lists included).
        interrupted: Whether it ended before its end. defects: of cnnbench itself, one line each.
        not_run: Ids of cells without a record.
        seconds: Where the wall time went: ``import``, ``build``, ``compile``, ``checks``, ``warm_up``, ``samples``,
            ``memory``, ``training``, ``yardsticks``, ``claims``, ``other``, and ``total``; of a run
            that was continued, of all its invocations that came to an end of their own.
        yardsticks: Of this machine in this run; medians over the launches of ``matrix_product_gflop_per_s`` and
            ``copy_gb_per_s``, each launch's being the better of those before and after it.
        claims: That were to be tried, with their verdicts.
        notes: What a reader should know. links: by label, from recorders.
    """

    schema_version: int = SCHEMA_VERSION
    suite: str
    run: str
    started_utc: str
    finished_utc: str
    exit_code: int
    interrupted: bool = False
    defects: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]]
    not_run: tuple[str, ...] = ()
    rows: tuple[Row, ...]
    seconds: dict[str, float] = Field(default_factory=dict)
    yardsticks: dict[str, float] = Field(default_factory=dict)
    claims: tuple[ClaimRow, ...] = ()
    notes: tuple[str, ...] = ()
    links: dict[str, str] = Field(default_factory=dict)


class RunFacts(Frozen):
    """What a summary says beside its cells."""

    suite: str
    run: str
    started_utc: str
    finished_utc: str
    interrupted: bool = False
    defects: tuple[str, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)
    yardsticks: dict[str, float] = Field(default_factory=dict)
    claims: tuple[ClaimRow, ...] = ()
    notes: tuple[str, ...] = ()


def summarize_run(cells: Sequence[Cell], records: Mapping[str, Record], facts: RunFacts) -> Summary:
    """The summary of a run's cells in their order.

    Args:
        cells: Those of the plan.
        records: By the id of their cell; a cell without one was not run.
        facts: What else it says.
    """
    found = [records[cell.id] for cell in cells if cell.id in records]
    missing = tuple(cell.id for cell in cells if cell.id not in records)
    return Summary(
        **dict(facts),
        exit_code=worst([_exit_code(cells, found, facts), *_of_claims(facts), DEFECT if facts.defects else OK]),
        categories={name: tuple(r.cell.id for r in found if r.status == name) for name in CATEGORIES},
        not_run=missing,
        rows=tuple(row(record) for record in found),
    )


def _exit_code(cells: Sequence[Cell], records: Sequence[Record], facts: RunFacts) -> int:
    """As ``exit_code``; a shard without a cell has measured all that it was to measure."""
    if not cells:
        return INTERRUPTED if facts.interrupted else OK
    return exit_code(records, interrupted=facts.interrupted)


def _of_claims(facts: RunFacts) -> list[int]:
    """A claim that is undecided or was not tried leaves a run inconclusive; one that does not hold is an answer."""
    open_claims = [claim for claim in facts.claims if claim.verdict in (None, "undecided")]
    return [INCONCLUSIVE] if open_claims else []


def exit_code(records: Sequence[Record], *, interrupted: bool = False) -> int:
    """The code of a run: the worst of its records'; 5 where not one cell ended well."""
    codes = [record.exit_code for record in records]
    if interrupted:
        codes.append(INTERRUPTED)
    codes.append(OK if any(record.status == "ok" for record in records) else INCONCLUSIVE)
    return worst(codes)


def row(record: Record) -> Row:
    """A record's line in the table."""
    used = [outcome.budget_used for outcome in record.checks if outcome.budget_used is not None]
    latency = record.latency
    fields: dict[str, Any] = {
        name: getattr(record.cell, name) for name in ("id", "architecture", "backend", "mode", "batch", "precision")
    }
    return Row(
        **fields,
        status=record.status,
        reason=record.reason,
        budget_used=max(used, default=None),
        checks={outcome.name: outcome.status for outcome in record.checks},
        median_s=latency.median_s if latency else None,
        throughput_images_per_s=latency.throughput_images_per_s if latency else None,
        peak_bytes=record.memory.peak_bytes if record.memory else None,
        compile_s=record.phases.compile_s,
        test_accuracy=record.training.test_accuracy if record.training else None,
    )
