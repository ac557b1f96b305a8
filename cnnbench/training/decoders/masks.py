"""From masks on a grid over each box to masks of the image's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def pasted(masks: Array, boxes: Array, size: tuple[int, int], threshold: float = 0.5) -> NDArray[np.bool_]:
    """Each mask laid over its box, interpolated at the centres of the image's pixels, and cut at a threshold.

    Along an axis, pixel i's centre i + 1/2 lies at u = (i + 1/2 - x1) / (x2 - x1) m - 1/2 of a mask of m cells, whose
    cell k has its centre at k. Beyond the mask the values are 0.

    Args:
        masks: (M, h, w) probabilities.
        boxes: (M, 4) corners in pixels.
        size: Height and width of the image.
        threshold: The least probability of a pixel that belongs to the object, above 0.

    Shapes: -> (M, H, W).

    Source: arXiv:1703.06870, section 3.1 ("resized to the RoI size, and binarized at a threshold of 0.5"); pixels'
    centres as Detectron2's ``paste_masks_in_image``.
    """
    result = np.zeros((len(masks), *size), bool)
    for mask, (x1, y1, x2, y2), found in zip(masks, boxes, result, strict=True):
        if x2 > x1 and y2 > y1:
            rows = _weights(float(y1), float(y2), mask.shape[0], size[0])
            columns = _weights(float(x1), float(x2), mask.shape[1], size[1])
            found[...] = rows @ mask @ columns.T >= threshold
    return result


def _weights(first: float, last: float, cells: int, pixels: int) -> Array:
    """(pixels, cells): the share of each cell in each pixel's value."""
    at = (np.arange(pixels) + 0.5 - first) / (last - first) * cells - 0.5
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(cells)[None, :]), 0))
