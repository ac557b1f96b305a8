"""A profile as a table: a row for each step, with its time, speed and share of the machine's limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.output.table import Column, Entry, ReportTable


def profile_table(nodes: Sequence[Mapping[str, Any]]) -> ReportTable:
    """The rows of ``NetworkProfile.nodes``."""
    columns = (
        Column("node", "left", help="a step that computes several nodes names them all"),
        Column("kind", "left"),
        Column("ms", help="median over the rounds"),
        Column("quartiles", help="of the time in ms"),
        Column("time", help="share of the sum of all nodes"),
        Column("GMAC/s"),
        Column("GB/s", help="weights, inputs and outputs, each counted once"),
        Column("roofline", help="share of the machine's limit"),
    )
    return ReportTable("", columns, tuple(_row(node) for node in nodes))


def _row(node: Mapping[str, Any]) -> tuple[Entry, ...]:
    kind = f"{node['kind']} ({node['algorithm']})" if node["algorithm"] else node["kind"]
    texts = (
        " + ".join(node["members"]),
        kind,
        f"{1e3 * node['time_s']:.3f}",
        f"{1e3 * node['low_s']:.3f}-{1e3 * node['high_s']:.3f}",
        _share(node["share_of_time"]),
        _scaled(node["macs_per_s"]),
        _scaled(node["bytes_per_s"]),
        _share(node["roofline_share"]),
    )
    return tuple(Entry(text) for text in texts)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _scaled(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e9:.2f}"
