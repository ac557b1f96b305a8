"""What generated pictures share: which pixels a disc, a polygon or a stroke covers, backgrounds, boxes of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.errors import DataError
from cnnbench.spec.layers import Shape
from cnnbench.training.datasets.pictures import Moments, require_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Mask = NDArray[np.bool_]
    Point = tuple[float, float]

MOMENTS = Moments((0.5,), (0.25,))
"""With which generated pictures are normalised."""
LICENCE = "drawn, no licence"
NOISE = 0.03  # the standard deviation of a pixel's noise, of values in [0, 1]


def require_size(image: Shape, name: str, smallest: int) -> None:
    """Raises DataError unless ``image`` is (C, H, W) with C 1 or 3 and both sides large enough.

    Args:
        image: What was asked for.
        name: The dataset's.
        smallest: Side in pixels on which its objects can still be told apart.
    """
    require_picture(image, name)
    if image[0] not in (1, 3) or min(image[1:]) < smallest:
        expected = f"1 or 3 channels, sides of {smallest} pixels or more"
        raise DataError(f"{name} is not drawn in this shape", received=image, expected=expected)


def centres(height: int, width: int) -> tuple[Array, Array]:
    """(x, y) of the pixels' centres, broadcastable to (height, width): pixel i covers i to i + 1."""
    return np.arange(width)[None] + 0.5, np.arange(height)[:, None] + 0.5


def disc(size: tuple[int, int], centre: Point, radius: float) -> Mask:
    """The pixels whose centre is at most ``radius`` away.

    Args:
        size: (H, W) of the mask.
        centre: x and y in pixels.
        radius: In pixels.
    """
    x, y = centres(*size)
    return np.asarray((x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2)


def convex_polygon(size: tuple[int, int], corners: Array) -> Mask:
    """The pixels whose centre lies in a convex polygon: on one side of all its edges."""
    x, y = centres(*size)
    sides = []
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        sides.append((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
    return np.asarray(np.all([s >= 0 for s in sides], axis=0) | np.all([s <= 0 for s in sides], axis=0))


def stroke(size: tuple[int, int], ends: tuple[Point, Point], thickness: float) -> Mask:
    """The pixels whose centre is at most half the thickness away from the line between two points.

    Args:
        size: (H, W) of the mask.
        ends: Both, x and y in pixels.
        thickness: In pixels.
    """
    x, y = centres(*size)
    (x0, y0), (x1, y1) = ends
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-12), 0.0, 1.0)
    return np.asarray((x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2 <= (thickness / 2) ** 2)


def background(size: tuple[int, int], generator: np.random.Generator) -> Array:
    """(3, H, W) of values in [0, 1]: grey that changes from corner to corner, with a few strokes of other greys."""
    x, y = centres(*size)
    levels = generator.uniform(0.1, 0.45, 3)
    grey = levels[0] + (levels[1] - levels[0]) * x / size[1] + (levels[2] - levels[0]) * y / size[0]
    side = min(size)
    for _ in range(int(generator.integers(2, 6))):
        start = generator.uniform(0, 1, 2) * (size[1], size[0])
        turn, length = generator.uniform(0, 2 * np.pi), generator.uniform(0.1, 0.3) * side
        end = (start[0] + length * np.cos(turn), start[1] + length * np.sin(turn))
        grey[stroke(size, ((start[0], start[1]), end), max(0.02 * side, 1.0))] = generator.uniform(0.1, 0.6)
    return np.repeat(grey[None], 3, axis=0)


def with_noise(picture: Array, generator: np.random.Generator) -> Array:
    """The picture with normal noise, cut to [0, 1]."""
    return np.clip(picture + NOISE * generator.standard_normal(picture.shape), 0.0, 1.0)


def tight_box(mask: Array) -> NDArray[np.float32]:
    """x1, y1, x2, y2 of the smallest box that holds the mask's pixels whole; zeros where it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.asarray([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def stacked(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """The truth of several images from that of each."""
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]} if parts else {}
