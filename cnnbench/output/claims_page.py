"""Statements that were tried as a page for readers who were not there: verdicts, figures, and a chart for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.claims.claim import ClaimEvidence, ClaimFinding
from cnnbench.harness.run.files import write_atomically
from cnnbench.output.drawing import INK, panels, reach, svg
from cnnbench.output.figures import seconds, significant
from cnnbench.output.table import Column, Entry, ReportTable, Tone
from cnnbench.output.text import escape_markdown, to_markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ADMITTED, POINT = "#d7eadb", "#3a6ea5"
TONES: dict[str, Tone] = {"does not hold": "bad", "undecided": "warn"}


class ClaimsPage:
    """``claims.md`` and a chart ``claims-NAME.svg`` for each claim, written anew with every finding.

    Args:
        target: A folder, made where it is not there.
        backend: Who computes, as people name it.
    """

    def __init__(self, target: Path, backend: str) -> None:
        self._target, self._backend = target, backend
        self._findings: dict[str, ClaimFinding] = {}
        self._remarks: dict[str, str | None] = {}
        target.mkdir(parents=True, exist_ok=True)

    def add(self, found: ClaimFinding, remark: str | None = None) -> None:
        """Adds what became of a claim, in place of what became of it before.

        Args:
            found: The figures.
            remark: A sentence below its verdict.
        """
        self._findings[found.claim.name], self._remarks[found.claim.name] = found, remark
        name = f"claims-{found.claim.name}"
        if found.evidence:
            write_atomically(self._target / f"{name}.svg", svg(name, lambda: _chart(found.evidence)) + "\n")
        write_atomically(self._target / "claims.md", "\n".join(self._parts()).rstrip() + "\n")

    def _parts(self) -> Iterator[str]:
        findings = sorted(self._findings.values(), key=lambda item: (item.claim.number, item.claim.name))
        yield from _verdicts(findings, self._backend)
        for found in findings:
            yield from _section(found, self._remarks[found.claim.name])


def _verdicts(findings: Sequence[ClaimFinding], backend: str) -> Iterator[str]:
    yield "# Claims about convolutional networks, tried\n"
    spent = math.fsum(found.seconds for found in findings)
    counts = _seeds(findings)
    repeated = f", over {counts} seeds where something is random" if counts else ""
    yield f"Computed by {backend} in {seconds(spent)}{repeated}.\n"
    rows = [
        (
            Entry(str(found.claim.number)),
            Entry(found.claim.statement),
            Entry(found.verdict, TONES.get(found.verdict, "good")),
            Entry(seconds(found.seconds)),
        )
        for found in findings
    ]
    columns = (Column(""), Column("statement", "left", prose=True), Column("verdict", "left"), Column("took"))
    yield to_markdown(ReportTable("Verdicts", columns, tuple(rows)))


def _seeds(findings: Sequence[ClaimFinding]) -> str:
    """How many; several numbers where claims were tried over different ones; "" where nothing is random."""
    counts = {max((len(item.values) for item in found.evidence), default=0) for found in findings}
    return " or ".join(map(str, sorted(counts - {0, 1})))


def _section(found: ClaimFinding, remark: str | None) -> Iterator[str]:
    claim = found.claim
    yield f"## {claim.number}. {claim.name}: {found.verdict}\n"
    yield f"{escape_markdown(claim.statement)} ({escape_markdown(claim.source)})\n"
    for condition in claim.conditions:
        yield f"* if {escape_markdown(condition)}"
    if found.lack is not None:
        yield f"* the experiment failed: {escape_markdown(found.lack)}"
    if remark is not None:
        yield f"* {escape_markdown(remark)}"
    yield ""
    if found.evidence:
        yield to_markdown(figures_table(found.evidence))
        yield f"![{claim.name}](claims-{claim.name}.svg)\n"


def figures_table(evidence: Sequence[ClaimEvidence]) -> ReportTable:
    """A row for each figure: its value with the interval, where the statement has it, and whether it lies there."""
    said: dict[bool | None, Entry] = {
        True: Entry("yes", "good"),
        False: Entry("no", "bad"),
        None: Entry("undecided", "warn"),
    }
    columns = (Column("measured", "left"), Column("value"), Column("should be"), Column("so", "left"))
    rows = [(Entry(item.what), Entry(_value(item)), Entry(_bounds(item)), said[item.supports]) for item in evidence]
    return ReportTable("Figures", columns, tuple(rows))


def _value(item: ClaimEvidence) -> str:
    low, high = item.interval
    value = significant(item.value, 4)
    return value if low == high else f"{value} [{significant(low, 4)}, {significant(high, 4)}]"


def _bounds(item: ClaimEvidence) -> str:
    if item.least is not None and item.least == item.most:
        return significant(item.least, 4)
    bounds = (("at least", item.least), ("at most", item.most))
    return ", ".join(f"{word} {significant(bound, 4)}" for word, bound in bounds if bound is not None)


def _chart(evidence: Sequence[ClaimEvidence]) -> Figure:
    """A strip for each figure: a point a seed, the interval of their mean, and where the statement has it."""
    figure, axes = panels(len(evidence), 1, 8.5, 0.95 * len(evidence) + 0.2)
    for (axis,), item in zip(axes, evidence, strict=True):
        _strip(axis, item)
    return figure


def _strip(axis: Axes, item: ClaimEvidence) -> None:
    low, high = item.interval
    known = [value for value in (*item.values, low, high, item.least, item.most) if value is not None]
    finite = [value for value in known if math.isfinite(value)] or [0.0]
    room = 0.08 * (max(finite) - min(finite)) or 0.08 * abs(finite[0]) or 1.0
    left, right = min(finite) - room, max(finite) + room
    axis.set_xlim(left, right)
    axis.axvspan(
        left if item.least is None else item.least, right if item.most is None else item.most, color=ADMITTED, zorder=0
    )
    axis.plot(item.values, [0] * len(item.values), "o", color=POINT, alpha=0.55, markersize=4)
    axis.errorbar([item.value], [0], xerr=reach([(item.value, low, high)]), fmt="|", color=INK, capsize=4)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_title(item.what, fontsize=8, fontweight="normal")
