"""Table values of what trained networks reach on test images, beyond the accuracy of classifiers."""

from __future__ import annotations

from collections.abc import Sequence

from cnnbench.harness.run.record import Record
from cnnbench.output import figures
from cnnbench.output.labels import label, network_label
from cnnbench.output.table import Column, Entry, ReportTable
from cnnbench.training.metrics.score import Score

COLUMNS = (
    Column("network", "left"),
    Column("metric", "left"),
    Column("backend", "left"),
    Column("value", help="on the test images after training"),
    Column("from"),
    Column("to", help="the ends of the interval over images, with 95 % confidence"),
    Column("images"),
    Column("better", "left"),
)


def score_table(records: Sequence[Record]) -> ReportTable:
    """A row for each metric of each cell that trained, backends below each other."""
    found = [
        (network_label(record.cell), place, record, score)
        for record in records
        if record.training is not None
        for place, score in enumerate(record.training.metrics)
    ]
    found.sort(key=lambda item: (item[0], item[1]))
    rows = tuple(
        (Entry(network), Entry(score.metric), Entry(label(record.cell), series=record.cell.series), *_figures(score))
        for network, _, record, score in found
    )
    return ReportTable("Test images", COLUMNS, rows)


def _figures(score: Score) -> tuple[Entry, ...]:
    ends = [Entry(_shown(value, score.unit)) for value in (score.value, score.low, score.high)]
    return (*ends, Entry(str(score.images)), Entry("higher" if score.higher_is_better else "lower"))


def _shown(value: float | None, unit: str) -> str:
    return figures.NOTHING if value is None else f"{value:.4g}{unit and ' ' + unit}"
