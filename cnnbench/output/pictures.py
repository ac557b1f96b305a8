"""What networks say of images, drawn: one column for each backend, what differs from the first one in red."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.output.drawing import STYLE
from cnnbench.training.decoders.boxes import Detections, overlaps
from cnnbench.training.decoders.decoded import Decoded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
FOLDER = "pictures"  # of a run's folder
SAME_PLACE = 0.5  # the overlap of a box with its counterpart on another backend, whose network was trained apart
SAME_PIXELS = 0.5  # by how many pixels a keypoint may lie elsewhere
DIFFERENT = "#e02424"
COLOURS = ("#0b7285", "#e67700", "#5f3dc4", "#2b8a3e", "#a61e4d", "#1864ab", "#846358", "#495057")


def side_by_side(images: Array, results: Mapping[str, Sequence[Decoded]], most: int = 4, title: str = "") -> bytes:
    """A PNG with a row for each image and a column for each backend.

    Detections, keypoints, words and pixels that are not those of the first column are red, and the column's title says
    how many there are.

    Args:
        images: (N, C, H, W) of any range; one channel is grey, of more than three the first is shown.
        results: Decoded outputs by the backend's label, one for each image; the first is what others are held to.
        most: Images that are drawn.
        title: What the file says of itself; ``title_of`` reads it.

    Raises:
        DataError: No result, or a backend without any image.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = min([most, *(len(found) for found in results.values())])
    if not results or rows < 1:
        raise DataError("there is no picture to draw", received={label: len(found) for label, found in results.items()})
    first = next(iter(results.values()))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(results), 2.8 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, len(results), squeeze=False)
        for column, (label, found) in enumerate(results.items()):
            for row in range(rows):
                axis = axes[row][column]
                image = images[row] if row < len(images) and np.ndim(images[row]) == 3 else None
                count = _draw(axis, image, found[row], first[row])
                said = f"{count} differ" if count else ""
                heading = "  ".join(part for part in (label if not row else "", said) if part)
                axis.set_title(heading, color=DIFFERENT if count else STYLE["text.color"])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None, "Title": title})
    return buffer.getvalue()


def _draw(axis: Axes, image: Array | None, found: Decoded, first: Decoded) -> int:
    """Draws one panel; how much of it is not what the first column has."""
    shown = found.picture if found.picture is not None else image
    if shown is not None:
        height, width = shown.shape[1:]  # a box at the left border has x1 = 0
        whole = (0, width, height, 0)
        axis.imshow(as_picture(shown), cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=whole)
    axis.set_xticks([])
    axis.set_yticks([])
    count = 0
    if found.pixels is not None:
        count += _pixels(axis, found.pixels, first.pixels, image)
    if found.detections is not None:
        count += _boxes(axis, found, first.detections)
    if found.keypoints is not None:
        count += _persons(axis, found, first.keypoints)
    if found.words is not None:
        differs = found.words != first.words
        axis.set_xlabel(" ".join(map(str, found.words)), color=DIFFERENT if differs else COLOURS[0], wrap=True)
        count += differs
    return count


def sheet(pictures: Array) -> Array:
    """(N, C, H, W) -> (C, rows (H + 1) - 1, columns (W + 1) - 1): pictures in a grid, as square as it can be.

    They stand row by row; lines between them and places that are left over have the largest value.

    Args:
        pictures: One at least, of any range.
    """
    count, channels, height, width = pictures.shape
    columns = math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    light = np.max(pictures, where=np.isfinite(pictures), initial=1.0)
    cells = np.full((rows * columns, channels, height + 1, width + 1), light)
    cells[:count, :, :height, :width] = pictures
    whole = cells.reshape(rows, columns, channels, height + 1, width + 1).transpose(2, 0, 3, 1, 4)
    return whole.reshape(channels, rows * (height + 1), columns * (width + 1))[:, :-1, :-1]


def as_picture(image: Array) -> Array:
    """(C, H, W) of any range as (H, W) or (H, W, 3) from 0 to 1; one of a single value is black."""
    finite = np.nan_to_num(np.asarray(image, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = finite.min(initial=0.0), finite.max(initial=1.0)
    if low < 0 or high > 1:
        low, high = finite.min(), finite.max()
    scaled = (finite - low) / (high - low) if high > low else np.zeros_like(finite)
    return np.asarray(np.moveaxis(scaled, 0, -1) if len(image) == 3 else scaled[0])


def missing(found: Detections, among: Detections | None) -> NDArray[np.bool_]:
    """The detections that have no counterpart: of the same class, at the same place, each counted once."""
    if among is None:
        return np.ones(len(found), bool)
    free = np.ones(len(among), bool)
    lacks = np.ones(len(found), bool)
    shares = overlaps(found.boxes, among.boxes)
    for i, row in enumerate(shares):
        candidates = np.flatnonzero(free & (row >= SAME_PLACE) & (among.classes == found.classes[i]))
        if len(candidates):
            lacks[i] = free[candidates[row[candidates].argmax()]] = False
    return lacks


def _boxes(axis: Axes, found: Decoded, first: Detections | None) -> int:
    detections = found.detections
    assert detections is not None
    lacks = missing(detections, first)
    for i, (x1, y1, x2, y2) in enumerate(detections.boxes):
        kind = int(detections.classes[i])
        colour = DIFFERENT if lacks[i] else COLOURS[kind % len(COLOURS)]
        style = "--" if lacks[i] else "-"
        axis.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], style, color=colour, linewidth=2 if lacks[i] else 1.2)
        axis.text(x1, y1, f"{kind}: {detections.scores[i]:.2f}", color=colour, fontsize=7, va="bottom", clip_on=True)
        if found.masks is not None:
            _tint(axis, found.masks[i], colour)
    gone = missing(first, detections) if first is not None else np.zeros(0, bool)
    for x1, y1, x2, y2 in [] if first is None else first.boxes[gone]:  # what this column lacks
        axis.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], ":", color=DIFFERENT, linewidth=2)
    return int(lacks.sum() + gone.sum())


def _tint(axis: Axes, mask: Array, colour: str) -> None:
    from matplotlib.colors import to_rgba

    layer = np.zeros((*mask.shape, 4))
    layer[mask] = to_rgba(colour, 0.4)
    axis.imshow(layer, interpolation="nearest", extent=(0, mask.shape[1], mask.shape[0], 0))


def _pixels(axis: Axes, pixels: Array, first: Array | None, image: Array | None) -> int:
    """Classes over the image; where unpadded convolutions leave a border, over its middle."""
    from matplotlib.colors import to_rgba

    top, left = 0.0, 0.0
    if image is not None:
        top, left = ((whole - part) / 2 for whole, part in zip(image.shape[1:], pixels.shape, strict=True))
    extent = (left, left + pixels.shape[1], top + pixels.shape[0], top)
    layer = np.zeros((*pixels.shape, 4))
    for kind in np.unique(pixels):
        layer[pixels == kind] = to_rgba(COLOURS[int(kind) % len(COLOURS)], 0.45 if kind else 0.0)
    differs = np.zeros(pixels.shape, bool) if first is None else pixels != first
    layer[differs] = to_rgba(DIFFERENT)
    axis.imshow(layer, extent=extent, interpolation="nearest")
    if image is not None:
        axis.set_xlim(0, image.shape[2])
        axis.set_ylim(image.shape[1], 0)
    return int(differs.sum())


def _persons(axis: Axes, found: Decoded, first: Array | None) -> int:
    keypoints = found.keypoints
    assert keypoints is not None
    count = 0
    for number, person in enumerate(keypoints):
        other = first[number] if first is not None and number < len(first) else np.full_like(person, np.nan)
        near = np.abs(person[:, :2] - other[:, :2]).max(1) <= SAME_PIXELS
        differs = ~(near & ((person[:, 2] > 0) == (other[:, 2] > 0)))
        colour = COLOURS[number % len(COLOURS)]
        for a, b in found.limbs:
            if person[a, 2] > 0 and person[b, 2] > 0:
                axis.plot(person[[a, b], 0], person[[a, b], 1], "-", color=colour, linewidth=1.5)
        for (x, y, score), wrong in zip(person, differs, strict=True):
            if score > 0:
                axis.plot([x], [y], "x" if wrong else "o", color=DIFFERENT if wrong else colour, markersize=5)
        count += int(differs.sum())
    return count + max(0, (0 if first is None else len(first)) - len(keypoints))


def pictures_of(folder: Path) -> dict[str, bytes]:
    """The PNG files in ``pictures`` of a run's folder, by name; reports and MLflow show them."""
    return {path.stem: path.read_bytes() for path in sorted((folder / FOLDER).glob("*.png"))}


def title_of(picture: bytes) -> str:
    """What a PNG says of itself; "" where it says nothing, or is damaged."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture)) as image:
            return str(image.info.get("Title", ""))
    except (UnidentifiedImageError, OSError):
        return ""
