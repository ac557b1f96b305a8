"""What a detector of one grid is trained towards: in each cell, the object whose centre lies there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def grid_targets(
    truth: Mapping[str, Array], classes: int, image: tuple[int, int], grid: tuple[int, int]
) -> dict[str, Array]:
    """The targets of ``yolo``.

    A cell describes the object whose centre lies in it; of several the one with the largest box, of equal ones the
    first. A centre on the edge of two cells belongs to the lower or right one, on the image's last edge to the last.
    Crowds are no objects, and neither are boxes without area.

    Args:
        truth: ``boxes`` (N, M, 4), ``box_classes`` (N, M), and where there are such ``crowd`` (N, M).
        classes: How many.
        image: Height and width in pixels.
        grid: Rows and columns.

    Returns:
        ``targets`` (N, 5 + C, rows, columns) float32: the centre within the cell, width and height as shares of the
        image, 1 where there is an object, its class as one of C.

    Source: arXiv:1506.02640, section 2.
    """
    boxes, kinds = np.asarray(truth["boxes"], np.float64), truth["box_classes"]
    sizes = boxes[..., 2:] - boxes[..., :2]
    counts = (kinds >= 0) & (sizes > 0).all(-1) & ~np.asarray(truth.get("crowd", np.zeros(kinds.shape)), bool)
    sides, cells = np.array(image[::-1], np.float64), np.array(grid[::-1])
    centres = (boxes[..., :2] + sizes / 2) / sides * cells
    places = np.clip(np.floor(centres).astype(np.int64), 0, cells - 1)
    found = np.zeros((len(boxes), 5 + classes, *grid), np.float32)
    for number, areas in enumerate(sizes.prod(-1)):
        for row in _by_rising_area(areas):
            if counts[number, row]:
                column, line = places[number, row]
                cell = found[number, :, line, column]
                cell[:] = 0
                cell[:2] = centres[number, row] - places[number, row]
                cell[2:4] = sizes[number, row] / sides
                cell[4] = cell[5 + kinds[number, row]] = 1
    return {"targets": found}


def _by_rising_area(areas: Array) -> Array:
    """Positions, so that what is written last is the largest, and of equal ones the first."""
    return np.argsort(-areas, kind="stable")[::-1]
