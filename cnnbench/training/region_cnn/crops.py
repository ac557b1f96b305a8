"""Crops of regions, warped to the size that a network takes, whatever their aspect ratio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CONTEXT = 16 / 227  # of a crop's side: so much of the image around the region is seen on each side


def warped(image: Array, boxes: Array, size: tuple[int, int], context: float = CONTEXT, fill: float = 0.0) -> Array:
    """Crops of an image, sampled bilinearly.

    A box is widened about its centre so that, after the warp, ``context`` of the crop's side lies around it on each
    side. Output pixel j samples the box at (j + 1/2) / size; beyond the image's outermost pixel centres by more than
    half a pixel lies ``fill``.

    Args:
        image: (C, H, W).
        boxes: (R, 4) as x1, y1, x2, y2 in pixels.
        size: Height and width of the crops.
        context: From 0 to 1/2.
        fill: The mean of the images, 0 where they are normalised.

    Returns:
        (R, C, h, w) in the image's dtype.

    Source: arXiv:1311.2524, section 2.1 and appendix A: anisotropic scaling with 16 pixels of context.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    grow = 0.5 / (1 - 2 * context)
    crops = np.empty((len(boxes), image.shape[0], *size), image.dtype)
    for place, box in enumerate(boxes):
        axes = []
        for axis, count in ((1, size[0]), (0, size[1])):
            low, high, side = box[axis], box[axis + 2], image.shape[2 - axis]
            centre, half = (low + high) / 2, (high - low) * grow
            at = centre - half + (np.arange(count) + 0.5) / count * 2 * half - 0.5
            axes.append((at, side))
        crops[place] = _bilinear(image, axes, fill)
    return crops


def _bilinear(image: Array, axes: list[tuple[Array, int]], fill: float) -> Array:
    """The image at the rows and columns, (C, h, w)."""
    found, inside = image.astype(np.float64), []
    for axis, (at, side) in enumerate(axes, start=1):
        inside.append((at >= -0.5) & (at <= side - 0.5))
        low = np.clip(np.floor(at), 0, side - 1).astype(np.int64)
        high = np.minimum(low + 1, side - 1)
        shape = [1, 1, 1]
        shape[axis] = len(at)
        share = np.clip(at - low, 0, 1).reshape(shape)
        found = np.take(found, low, axis) * (1 - share) + np.take(found, high, axis) * share
    return np.where(inside[0][:, None] & inside[1][None, :], found, fill).astype(image.dtype)
