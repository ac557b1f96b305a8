"""Tables of what timing showed beside the latencies: controls, and when a slow start has paid."""

from __future__ import annotations

from collections.abc import Sequence

from cnnbench.harness.run.record import Record
from cnnbench.output import figures
from cnnbench.output.break_even import break_even
from cnnbench.output.labels import label, network_name
from cnnbench.output.table import Column, Entry, ReportTable


def controls_table(records: Sequence[Record]) -> ReportTable | None:
    """Programs timed against themselves in a second worker; None where the run has no control."""
    rows = []
    for record in records:
        if record.control is None:
            continue
        ratio = record.control.ratio
        interval = f"[{figures.significant(ratio.low)}, {figures.significant(ratio.high)}]"
        rows.append(
            (
                Entry(record.cell.id, series=record.cell.series),
                Entry(f"{figures.significant(ratio.value)}×"),
                Entry(figures.NOTHING if ratio.confidence == 0 else interval),
                Entry(str(len(record.control.rounds))),
            )
        )
    columns = (
        Column("cell", "left"),
        Column("again / first", help="the same program in a second worker, in the same rounds: the truth is 1"),
        Column("95 % interval"),
        Column("paired rounds"),
    )
    return ReportTable("Controls: what chance alone shows", columns, tuple(rows)) if rows else None


def break_even_table(records: Sequence[Record]) -> ReportTable | None:
    """From how many batches on each program has overtaken the one of its group that gives its first result soonest."""
    rows = []
    for item in break_even(records):
        cell = item.record.cell
        if item.record is item.first:
            text = "starts first"
        elif not item.decided:
            text = f"undecided: its latency's interval overlaps that of {label(item.first.cell)}"
        elif item.batches is None:
            text = f"never overtakes {label(item.first.cell)}"
        else:
            text = f"overtakes {label(item.first.cell)} after {item.batches:,} batches"
        rows.append(
            (
                Entry(network_name(cell)),
                Entry(str(cell.batch)),
                Entry(label(cell), series=cell.series),
                Entry(figures.seconds(item.start_s)),
                Entry(figures.seconds(item.batch_s)),
                Entry(text),
            )
        )
    columns = (
        Column("network", "left"),
        Column("batch"),
        Column("backend", "left"),
        Column("start", help="import, build, weights, compilation, and what the first call takes beyond a steady one"),
        Column("each batch"),
        Column("break-even", "left"),
    )
    return ReportTable("Break-even: when a slow start has paid", columns, tuple(rows)) if rows else None
