"""Table values of a gate's verdicts and of the comparison of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from cnnbench.gates.compare import Difference
from cnnbench.gates.judgement import JUDGEMENTS, Verdict
from cnnbench.gates.verdicts import GateResult
from cnnbench.output import figures
from cnnbench.output.table import Column, Entry, ReportTable, Tone

TONES: dict[str, Tone] = {
    "regressed": "bad",
    "improved": "good",
    "inconclusive": "warn",
    "not comparable": "warn",
    "unchanged": "muted",
}
_FIGURES = {
    "latency": figures.seconds,
    "memory": figures.size,
    "numerics": figures.percent,
    "accuracy": figures.percent,
}
_COLUMNS = (
    Column("metric", "left"),
    Column("verdict", "left"),
    Column("reason", "left", prose=True),
    Column("baseline"),
    Column("this run"),
    Column("change [interval]", help="95 % confidence, 98 % for metrics of test images, or as the suite says"),
    Column("tolerated"),
    Column("noise", help="half the interval: what chance alone may show"),
    Column("detectable", help="the smallest true change that would have been found with 80 % power"),
    Column("false alarms", help="the chance that this comparison calls an unchanged cell regressed"),
)


def verdict_table(result: GateResult) -> ReportTable:
    """A row for each metric of each cell, the worst verdicts first."""
    return _table("Verdicts", _worst_first(result.verdicts))


def split_verdicts(result: GateResult) -> tuple[ReportTable, ReportTable]:
    """``verdict_table`` in two: what a reader must look at, and what is unchanged."""
    calm = [verdict for verdict in result.verdicts if verdict.verdict == "unchanged"]
    rest = [verdict for verdict in result.verdicts if verdict.verdict != "unchanged"]
    return _table("Verdicts other than unchanged", _worst_first(rest)), _table("Unchanged", calm)


def _worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda verdict: JUDGEMENTS.index(verdict.verdict))


def _table(title: str, verdicts: Sequence[Verdict]) -> ReportTable:
    rows = tuple((Entry(verdict.subject, series=verdict.series), *_entries(verdict)) for verdict in verdicts)
    return ReportTable(title, (Column("cell", "left"), *_COLUMNS), rows)


def series_table(result: GateResult) -> ReportTable:
    """The latencies of each backend's cells taken together."""
    rows = tuple(
        (Entry(f"{verdict.subject}, {verdict.architecture}", series=verdict.series), *_entries(verdict))
        for verdict in result.series
    )
    return ReportTable("All cells of a backend together", (Column("backend", "left"), *_COLUMNS), rows)


def _entries(verdict: Verdict) -> tuple[Entry, ...]:
    show = _FIGURES.get(verdict.metric) or partial(figures.with_unit, unit=verdict.unit)
    points = verdict.scale == "difference"
    share = verdict.metric in _FIGURES

    def amount(value: float | None) -> Entry:
        if value is None:
            return Entry(figures.NOTHING)
        if points and not share:
            return Entry(f"±{figures.with_unit(value, verdict.unit)}")
        return Entry(f"{'±' if points else ''}{100 * value:.1f} {'pp' if points else '%'}")

    return (
        Entry(verdict.metric),
        Entry(verdict.verdict, TONES[verdict.verdict]),
        Entry(verdict.reason),
        Entry(show(verdict.baseline)),
        Entry(show(verdict.head)),
        Entry(figures.change(verdict.change, verdict.scale) if share else figures.moved(verdict.change, verdict.unit)),
        amount(verdict.threshold),
        amount(verdict.noise),
        amount(verdict.detectable),
        Entry(figures.percent(verdict.false_alarm_rate)),
    )


def headline(result: GateResult) -> str:
    """The gate in one sentence."""
    outcome = {0: "passes", 1: "fails: a regression was found"}.get(result.exit_code, "is undecided")
    counts = ", ".join(f"{result.counts[name]} {name}" for name in JUDGEMENTS if name in result.counts)
    how = "base and head interleaved" if result.paired else f"against {result.base_run}"
    return f"The gate {outcome} ({counts or 'nothing was judged'}; {how})."


def differences_table(differences: Sequence[Difference], sides: tuple[str, str] = ("base", "head")) -> ReportTable:
    """The settings in which two runs, or the two sides of one, differ; ``sides`` head their columns."""
    rows = tuple((Entry(item.where), Entry(item.name), Entry(item.base), Entry(item.head)) for item in differences)
    columns = (Column("where", "left"), Column("setting", "left"), *(Column(side, "left") for side in sides))
    return ReportTable("What differs", columns, rows)
