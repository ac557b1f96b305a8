"""What a report of a run says, gathered as values before anything is drawn or written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnnbench.gates.agreement import agreements
from cnnbench.gates.compare import Relative, relative
from cnnbench.gates.evidence import Evidence
from cnnbench.gates.verdicts import GateResult
from cnnbench.output import figures
from cnnbench.output.cautions import cautions, precision
from cnnbench.output.labels import network_name
from cnnbench.output.memory_curve import memory_curve_table
from cnnbench.output.palette import colours
from cnnbench.output.published_training import training_table
from cnnbench.output.run_claims import run_claims_table
from cnnbench.output.score_tables import agreement_findings, agreement_table, score_table
from cnnbench.output.table import Column, Entry, ReportTable
from cnnbench.output.tables import (
    BAD,
    budget_used,
    checks_table,
    phases_table,
    problems_table,
    result_table,
    skips_table,
)
from cnnbench.output.timing_tables import break_even_table, controls_table
from cnnbench.output.training_words import training_findings
from cnnbench.output.verdict_tables import series_table, split_verdicts


@dataclass(frozen=True)
class ReportTile:
    """A figure at the head of a report."""

    value: str
    label: str
    tone: str = ""


@dataclass(frozen=True)
class RunReport:
    """Everything that a report shows but its charts.

    Args:
        cautions: Reasons to doubt the latencies; they stand above the results. precision: how wide the intervals are.
        notes: Of the run, but for those that are cautions.
    """

    title: str
    run_id: str
    started: str
    run: Evidence
    tiles: tuple[ReportTile, ...]
    cautions: tuple[str, ...]
    precision: str
    findings: tuple[str, ...]
    results: ReportTable
    tables: tuple[ReportTable, ...]
    problems: ReportTable
    skips: ReportTable
    environment: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    gate: GateResult | None
    gate_tables: tuple[ReportTable, ...]
    colours: Mapping[str, str]


def gather(run: Evidence, gate: GateResult | None = None, units: Mapping[str, str] | None = None) -> RunReport:
    """The report of a run.

    Args:
        run: With all that lies in its folder.
        gate: The verdicts on it, where it was gated.
        units: Of the metrics that plugins derive from records, by name.
    """
    ratios, alike = relative(run), agreements(run.records)
    doubts = cautions(run.records)
    tables = (
        run_claims_table(run),
        score_table(run.records),
        replace(training_table(run.records), title="Training"),
        agreement_table(alike),
        relative_table(ratios),
        controls_table(run.records),
        break_even_table(run.records),
        memory_curve_table(run.records),
        checks_table(run.records),
        phases_table(run.records),
        seconds_table(run),
    )
    return RunReport(
        title=run.suite,
        run_id=run.run_id,
        started=min((record.started_utc for record in run.records), default=""),
        run=run,
        tiles=tuple(_tiles(run, gate)),
        cautions=doubts,
        precision=precision(run.records),
        findings=(*_findings(run, ratios), *training_findings(run.records), *agreement_findings(alike)),
        results=result_table(run.records, units),
        tables=tuple(table for table in tables if table),
        problems=problems_table(run.records),
        skips=skips_table(run.records),
        environment=environment_rows(run),
        notes=tuple(note for note in run.notes if note not in doubts),
        gate=gate,
        gate_tables=tuple(table for table in (series_table(gate), *split_verdicts(gate)) if table) if gate else (),
        colours=colours(record.cell for record in run.records),
    )


def _tiles(run: Evidence, gate: GateResult | None) -> list[ReportTile]:
    records = run.records
    ended = [record for record in records if record.status == "ok"]
    unproven = sum(record.unproven is not None for record in ended)
    missed = sum(record.unproven is None and record.inconclusive is not None for record in ended)
    ok = len(ended) - unproven - missed
    failed = sum(record.status in BAD for record in records)
    skipped = sum(record.status == "skipped" for record in records)
    planned = len(records) + len(run.unrecorded)
    tiles = [ReportTile(f"{ok} / {planned}", "cells ended well", "good" if ok + skipped == planned else "bad")]
    if failed:
        tiles.append(ReportTile(str(failed), "cells failed", "bad"))
    if unproven:
        tiles.append(ReportTile(str(unproven), "cells not proven", "bad"))
    if missed:
        tiles.append(ReportTile(str(missed), "trainings missed their target", "bad"))
    if run.unrecorded:
        tiles.append(ReportTile(str(len(run.unrecorded)), "cells without a record", "bad"))
    if skipped:
        tiles.append(ReportTile(str(skipped), "cells skipped", "muted"))
    checks = [check for record in records for check in record.checks if check.status != "skipped"]
    if checks:
        passed = sum(check.status == "passed" for check in checks)
        tone = "good" if passed == len(checks) else "bad"
        tiles.append(ReportTile(f"{passed} / {len(checks)}", "numerical checks passed", tone))
    used = budget_used(checks)
    if used is not None:
        tiles.append(
            ReportTile(figures.percent(used), "largest use of an error budget", "good" if used <= 1 else "bad")
        )
    if gate is not None:
        text = ", ".join(f"{count} {name}" for name, count in sorted(gate.counts.items()))
        tiles.append(ReportTile({0: "passes", 1: "fails"}.get(gate.exit_code, "undecided"), f"the gate: {text}",
                          {0: "good", 1: "bad"}.get(gate.exit_code, "warn")))  # fmt: skip
    return tiles


def _findings(run: Evidence, ratios: Sequence[Relative]) -> list[str]:
    """One sentence a comparison group: who is fastest, and how far the next is behind."""
    cells = {record.cell.id: record.cell for record in run.records}
    groups: dict[str, list[Relative]] = {}
    for item in ratios:
        groups.setdefault(item.reference, []).append(item)
    sentences = []
    for items in groups.values():
        if len(items) < 2:
            continue
        cell, second = cells[items[0].subject], items[1]
        low, high = figures.significant(second.ratio.low), figures.significant(second.ratio.high)
        lead = f"{network_name(cell)}, batch {cell.batch}: "
        if second.ratio.low > 1:
            ratio = figures.significant(second.ratio.value)
            sentences.append(
                f"{lead}{items[0].series} is fastest; {second.series} takes {ratio} times as long [{low}, {high}]"
            )
        else:
            sentences.append(f"{lead}{items[0].series} and {second.series} cannot be told apart [{low}, {high}]")
    return sentences


def relative_table(ratios: Sequence[Relative]) -> ReportTable:
    """Latency against the fastest of the same comparison group, from paired rounds."""
    rows = []
    for item in ratios:
        ratio = item.ratio
        text = figures.significant(ratio.value)
        interval = f"[{figures.significant(ratio.low)}, {figures.significant(ratio.high)}]"
        first = item.subject == item.reference
        rows.append(
            (
                Entry(item.group),
                Entry(item.series, series=item.series),
                Entry("fastest" if first else f"{text}×", "good" if first else ""),
                Entry(figures.NOTHING if first or ratio.confidence == 0 else interval),
                Entry(str(item.rounds)),
            )
        )
    columns = (
        Column("comparison group", "left"),
        Column("backend", "left"),
        Column("latency / fastest"),
        Column("95 % interval"),
        Column("paired rounds"),
    )
    return ReportTable("Against the fastest, from paired rounds", columns, tuple(rows))


def seconds_table(run: Evidence) -> ReportTable:
    """Where the run's wall time went."""
    total = run.seconds.get("total", 0.0)
    rows = [
        (
            Entry(name.replace("_", " ")),
            Entry(figures.seconds(value)),
            Entry(figures.percent(value / total)),
        )
        for name, value in sorted(run.seconds.items(), key=lambda item: -item[1])
        if total
    ]
    return ReportTable(
        "Where the time went", (Column("phase", "left"), Column("seconds"), Column("share")), tuple(rows)
    )


def environment_rows(run: Evidence, only: Collection[str] | None = None) -> tuple[tuple[str, str], ...]:
    """Where a run was made: the names of facts with their values as text.

    Args:
        run: With its environment.
        only: Which facts of the environment are wanted, beside the yardsticks; None for all, and all versions.
    """
    facts: dict[str, Any] = {name: value for name, value in run.environment.items() if only is None or name in only}
    facts["yardsticks"] = _yardsticks(run)
    if only is None:
        facts["versions"] = _versions(run)
    return tuple(_flat(facts))


def _yardsticks(run: Evidence) -> dict[str, str]:
    return {name: figures.significant(value, 4) for name, value in run.yardsticks.items()}


def _versions(run: Evidence) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in run.records:
        found |= record.versions
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as dotted names with their values as text; what is not known is left out."""
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif value not in (None, "", [], ()):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append((f"{prefix}{name}".replace("_", " "), text))
    return rows
