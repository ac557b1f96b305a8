"""Images per second over the batch size: where a larger batch no longer pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Key
from cnnbench.output.drawing import MARKERS, panels, plain_ticks, reach, short
from cnnbench.output.labels import label, network_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12


def throughput_curves(records: Sequence[Record]) -> dict[Key, list[list[Record]]]:
    """By network, its programs that were timed at two batch sizes or more: their records by rising batch."""
    programs: dict[Key, dict[int, Record]] = {}
    for record in records:
        if record.latency is not None:
            programs.setdefault(record.cell.program_key, {})[record.cell.batch] = record
    found: dict[Key, list[list[Record]]] = {}
    for by_batch in programs.values():
        if len(by_batch) > 1:
            members = [by_batch[batch] for batch in sorted(by_batch)]
            found.setdefault((*members[0].cell.network_key, members[0].cell.precision), []).append(members)
    return found


def throughput_by_batch(records: Sequence[Record], colours: Mapping[str, str]) -> Figure:
    """A panel for each network: images per second of every backend with its interval, both axes logarithmic."""
    networks = dict(list(throughput_curves(records).items())[:MOST_PANELS])
    names = network_labels(record.cell for curves in networks.values() for members in curves for record in members)
    columns = min(2, len(networks)) or 1
    rows = -(-len(networks) // columns)
    figure, axes = panels(rows, columns, 11.2, 3.1 * rows)
    flat = [axis for row in axes for axis in row]
    for axis, curves in zip(flat, networks.values(), strict=False):
        for number, members in enumerate(curves):
            cell = members[0].cell
            speeds = [r.latency.throughput_images_per_s for r in members if r.latency is not None]
            ends = reach((s.value, s.low, s.high) for s in speeds)
            axis.errorbar(
                [r.cell.batch for r in members], [s.value for s in speeds], yerr=ends, color=colours[cell.series],
                marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.2, capsize=2, label=short(label(cell)),
            )  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        batches = sorted({record.cell.batch for members in curves for record in members})
        axis.set_xticks(batches, [str(batch) for batch in batches])
        axis.minorticks_off()
        plain_ticks(axis.yaxis)
        axis.set_title(short(names[curves[0][0].cell.network_key]))
        axis.set_xlabel("images in a batch")
        axis.set_ylabel("images/s")
        axis.grid()
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    for axis in flat[len(networks) :]:
        axis.set_axis_off()
    return figure
