"""A chart with a row for each network and a dot for each backend, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.output.drawing import MARKERS, panels, plain_ticks, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Dot:
    """A figure with its interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


def dots(
    rows: Sequence[str], series: Mapping[str, tuple[str, Sequence[Dot | None]]], title: str, *, percent: bool = False
) -> Figure:
    """Draws the rows from top to bottom.

    Args:
        rows: The networks' names.
        series: By label: the colour, and a figure for each row. What is missing or not positive has no dot.
        title: Of the axis.
        percent: Whether the figures are fractions.
    """
    from matplotlib.ticker import FuncFormatter

    figure, ((axis,),) = panels(1, 1, 9.0, 1.1 + 0.19 * len(rows))
    for number, (name, (colour, values)) in enumerate(series.items()):
        known = [(place, dot) for place, dot in enumerate(values) if dot is not None and dot.value > 0]
        places = [place for place, _ in known]
        axis.scatter(
            [dot.value for _, dot in known], places, s=18, marker=MARKERS[number % len(MARKERS)],
            color=colour, label=short(name), zorder=3, edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        for place, dot in known:
            if dot.low is not None and dot.high is not None:
                axis.plot([dot.low, dot.high], [place, place], color=colour, linewidth=1, alpha=0.6)
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    if high / low < 1e4:
        plain_ticks(axis.xaxis)
    if percent:
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    else:
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_yticks(range(len(rows)), [short(name) for name in rows], fontsize=7)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel(title)
    axis.xaxis.set_label_position("top")
    axis.xaxis.tick_top()
    axis.grid(axis="both", linewidth=0.4)
    axis.set_axisbelow(True)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure
