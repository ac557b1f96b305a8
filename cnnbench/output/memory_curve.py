"""Peak memory by batch size: a curve, and the straight line through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression
from typing import TYPE_CHECKING

from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Key
from cnnbench.output import figures
from cnnbench.output.drawing import MARKERS, panels, short
from cnnbench.output.labels import label, network_name
from cnnbench.output.table import Column, Entry, ReportTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 24


@dataclass(frozen=True)
class MemoryCurve:
    """The peaks of one program by batch size, the smallest first, at least two of them."""

    network: str
    label: str
    series: str
    points: tuple[tuple[int, int], ...]

    @property
    def line(self) -> tuple[float, float]:
        """(fixed bytes, bytes for each image) of the least-squares line: what a batch size not measured would need."""
        per_image, fixed = linear_regression([batch for batch, _ in self.points], [peak for _, peak in self.points])
        return fixed, per_image

    @property
    def bend(self) -> float:
        """The largest distance of a peak from the line, relative to the peak: 0 where two points make the line."""
        fixed, per_image = self.line
        return max((abs(fixed + per_image * batch - peak) / peak for batch, peak in self.points if peak), default=0.0)


def memory_curves(records: Sequence[Record]) -> list[MemoryCurve]:
    """The curves of all programs that were weighed at two batch sizes or more."""
    peaks: dict[Key, dict[int, int]] = {}
    first: dict[Key, Record] = {}
    for record in records:
        if record.memory is None:
            continue
        cell = record.cell
        key = cell.program_key
        first.setdefault(key, record)
        peaks.setdefault(key, {})[cell.batch] = record.memory.device_peak_bytes or record.memory.peak_bytes
    return [
        MemoryCurve(_network(first[key]), label(first[key].cell), first[key].cell.series, tuple(sorted(found.items())))
        for key, found in peaks.items()
        if len(found) > 1
    ]


def _network(record: Record) -> str:
    cell = record.cell
    rest = ["×".join(map(str, cell.image))] if cell.image else []
    rest += [] if cell.precision == "float32" else [cell.precision]
    rest += [] if cell.threads is None else [f"{cell.threads} threads"]
    return ", ".join([network_name(cell), *rest])


def memory_curve_table(records: Sequence[Record]) -> ReportTable | None:
    """What every further image costs; None where nothing was weighed at two batch sizes."""
    rows = []
    for curve in memory_curves(records):
        fixed, per_image = curve.line
        rows.append(
            (
                Entry(curve.network),
                Entry(curve.label, series=curve.series),
                Entry(", ".join(f"{batch}: {figures.size(peak)}" for batch, peak in curve.points)),
                Entry(figures.size(fixed)),
                Entry(figures.size(per_image)),
                Entry(figures.NOTHING if len(curve.points) < 3 else figures.percent(curve.bend)),
            )
        )
    columns = (
        Column("network", "left"),
        Column("backend", "left"),
        Column("batch: peak", "left"),
        Column("fixed", help="the line's peak at batch 0: weights, workspace"),
        Column("each image"),
        Column("off the line", help="largest distance of a peak from the line, of three batch sizes or more"),
    )
    return ReportTable("Peak memory by batch size", columns, tuple(rows)) if rows else None


def memory_by_batch(records: Sequence[Record], colours: Mapping[str, str]) -> Figure:
    """A panel for each network: the peak of every backend over the batch size, with its line."""
    networks: dict[str, list[MemoryCurve]] = {}
    for curve in memory_curves(records):
        networks.setdefault(curve.network, []).append(curve)
    shown = dict(list(networks.items())[:MOST_PANELS])
    columns = min(2, len(shown)) or 1
    rows = -(-len(shown) // columns)
    figure, axes = panels(rows, columns, 11.2, 2.9 * rows)
    flat = [axis for row in axes for axis in row]
    for axis, (name, curves) in zip(flat, shown.items(), strict=False):
        for number, curve in enumerate(curves):
            fixed, per_image = curve.line
            batches = [batch for batch, _ in curve.points]
            ends = [batches[0], batches[-1]]
            colour, marker = colours[curve.series], MARKERS[number % len(MARKERS)]
            axis.plot(batches, [peak / 2**20 for _, peak in curve.points], linestyle="", marker=marker,
                      color=colour, label=short(curve.label))  # fmt: skip
            axis.plot(ends, [(fixed + per_image * end) / 2**20 for end in ends], color=colour, linewidth=1)
        axis.set_title(short(name))
        axis.set_xlabel("images in a batch")
        axis.set_ylabel("peak memory [MiB]")
        axis.set_ylim(bottom=0)
        axis.grid()
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))  # beside the lines, never over them
    for axis in flat[len(shown) :]:
        axis.set_axis_off()
    return figure
