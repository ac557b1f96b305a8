"""What views show, drawn: a PNG of the panels of one view, and a page of all of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.output.drawing import STYLE
from cnnbench.output.pictures import as_picture, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnnbench.views.view import Panel

Array = NDArray[Any]
MOST_COLUMNS = 4
MOST = 24  # panels in one picture
SIDE = 2.4  # inches of a panel
STRONGEST = 99.5  # the percentile of a heat map that is drawn as its largest: single pixels would leave the rest dark


def draw_panels(panels: Sequence[Panel], dots_per_inch: int = 100) -> bytes:
    """A PNG of the panels, row by row.

    Args:
        panels: One at least; the first ``MOST`` are drawn.
        dots_per_inch: Of a panel of ``SIDE`` inches.

    Raises:
        DataError: There is no panel.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not panels:
        raise DataError("there is nothing to draw", received="no panel")
    shown = panels[:MOST]
    columns = min(MOST_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(SIDE * columns, (SIDE + 0.25) * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, panel in zip(axes, shown, strict=False):
            _draw(axis, panel)
        for axis in axes[len(shown) :]:
            axis.axis("off")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axis: Axes, panel: Panel) -> None:
    axis.set_title(panel.title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
    values = np.asarray(panel.values, np.float64)
    if panel.kind == "points":
        axis.scatter(values[:, 0], values[:, 1], c=values[:, 2], cmap="tab10", s=8, linewidths=0)
        return
    if values.ndim == 4:
        values = sheet(np.stack([_tile(item, panel.kind) for item in values]))
    if panel.kind == "image":
        axis.imshow(as_picture(values), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        return
    if values.ndim == 3:
        values = values[0]
    if panel.over is not None:
        axis.imshow(as_picture(panel.over).mean(-1) if len(panel.over) == 3 else as_picture(panel.over), cmap="gray")
    strongest = float(np.percentile(np.abs(values), STRONGEST)) or float(np.abs(values).max()) or 1.0
    colours, low = ("RdBu_r", -strongest) if panel.kind == "signed" else ("inferno", 0.0)
    alpha = 0.6 if panel.over is not None else 1.0
    axis.imshow(values, cmap=colours, vmin=low, vmax=strongest, interpolation="nearest", alpha=alpha)


def _tile(item: Array, kind: str) -> Array:
    """A tile of a sheet on the scale of its own; of a signed one, zero stays zero."""
    if kind == "image":
        low, high = float(item.min()), float(item.max())
        return (item - low) / (high - low) if high > low else np.zeros_like(item)
    largest = float(np.abs(item).max())
    return np.asarray(item / largest if largest else item)
