"""How charts are drawn: one style, panels, ticks, and SVG text without anything external."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

LONGEST_NAME = 36
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, FAINT = "#1f2933", "#d5dbe1"
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": "#7b8794",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def svg(name: str, draw: Callable[[], Figure]) -> str:
    """The drawing of ``draw`` as an inline ``<svg>`` whose ids start with ``name``."""
    import matplotlib

    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = draw()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    opening, rest = text.split(">", 1)
    width = re.search(r'\bwidth="([\d.]+)pt"', opening)
    shown = f"max-width:{float(width[1]) * 4 / 3:.0f}px" if width else ""
    opening = re.sub(r'\b(width|height)="[^"]*" ?', "", opening)
    return f'{opening} role="img" style="width:100%;height:auto;{shown}">{rest}'


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure, and its axes by row and column.

    Args:
        rows: How many rows of panels.
        columns: How many panels a row has.
        width: Of the figure, in inches.
        height: Of the figure, in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def percent_ticks(axis: Axes) -> None:
    """Fractions on the y axis as percentages; 1, 2, 5, 10 ... on a logarithmic one that is not too long for it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if axis.get_yscale() == "log":
        low, high = axis.get_ylim()
        axis.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if high / low < 300 else (1.0,)))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))


def plain_ticks(axis: Axis) -> None:
    """1, 2, 5, 10 ... on a logarithmic axis, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def power_ticks(axis: Axis) -> None:
    """1e-7, 1e-6 ... on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
    axis.set_minor_formatter(NullFormatter())


def reach(intervals: Iterable[tuple[float, float, float]], scale: float = 1.0) -> tuple[list[float], list[float]]:
    """How far error bars reach below and above each value; not at all to an end on the other side of the value.

    Args:
        intervals: (value, low, high) of each.
        scale: Of the axis, in the values' unit.
    """
    found = [(max(0.0, value - low) / scale, max(0.0, high - value) / scale) for value, low, high in intervals]
    return [below for below, _ in found], [above for _, above in found]


def short(name: str) -> str:
    """A name short enough to leave space for the drawing."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
