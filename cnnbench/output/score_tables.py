"""Table values of what trained networks reach on test images, and whether backends agree in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnnbench.gates.agreement import Agreement
from cnnbench.harness.run.record import Record
from cnnbench.output import figures
from cnnbench.output.labels import label, network_label
from cnnbench.output.table import Column, Entry, ReportTable, Tone
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
AGREEMENT = (
    Column("network", "left"),
    Column("metric", "left"),
    Column("backends"),
    Column("lowest", "left"),
    Column("highest", "left"),
    Column("difference [interval]", help="95 % confidence for all pairs of backends together"),
    Column("p", help="of all backends being alike on every image"),
    Column("test", "left"),
    Column("verdict", "left"),
    Column("reason", "left", prose=True),
)
# A test of images knows nothing of how far two trainings lie apart that only a rounding told apart.
IMAGES_ONLY = "chance over images alone; trainings that rounding sets apart may differ as much between two seeds"
TONES: dict[str, Tone] = {"agree": "good", "differ": "warn", "undecided": "warn"}


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


def agreement_table(found: Sequence[Agreement]) -> ReportTable:
    """A row for each metric of each network that several backends trained."""
    return ReportTable("Do the backends agree on the test images?", AGREEMENT, tuple(map(_agreement_row, found)))


def _agreement_row(item: Agreement) -> tuple[Entry, ...]:
    total = len(item.backends) + len(item.missing)
    count = str(total) if not item.missing else f"{len(item.backends)} of {total}"
    ends = [f"{figures.plain(item.figures[at])}: {item.backends[at]}" for at in (item.low, item.high) if item.figures]
    lost = f"no figure of {', '.join(item.missing)}" if item.missing else ""
    return (
        Entry(item.subject),
        Entry(item.metric),
        Entry(count),
        *(Entry(text) for text in ends or (figures.NOTHING,) * 2),
        Entry(figures.moved(item.difference)),
        Entry(figures.NOTHING if item.difference is None else f"{item.p_value:.3g}"),
        Entry(item.test),
        Entry(item.verdict, TONES[item.verdict]),
        Entry("; ".join(filter(None, (item.reason, lost, IMAGES_ONLY if item.verdict == "differ" else "")))),
    )


def agreement_findings(found: Sequence[Agreement]) -> Iterator[str]:
    """One sentence for each row.

    For example: "unet_tiny: the 4 backends agree in pck (paired permutation test, p = 0.42); they lie 0.0031 apart".
    """
    for item in found:
        count = len(item.backends)
        if item.difference is None or item.verdict == "undecided":
            lost = f"no figure of {', '.join(item.missing)}" if item.missing else item.reason
            yield f"{item.subject}: whether the backends agree in {item.metric} is undecided: {lost}"
            continue
        yield (
            f"{item.subject}: the {count} backends {item.verdict} in {item.metric} ({item.test}, p = "
            f"{item.p_value:.2g}); they lie {figures.plain(item.difference.value)} apart"
            f"{f' ({IMAGES_ONLY})' if item.verdict == 'differ' else ''}"
        )
