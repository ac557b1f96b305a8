"""From heatmaps to one keypoint each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def keypoints_of(heatmaps: Array, stride: float = 4.0) -> Array:
    """The largest value of each map, moved by a quarter of a cell towards the larger of its two neighbours.

    With the maximum at column p, x = p + sign(h[p + 1] - h[p - 1]) / 4, if 1 < p < W - 1; y alike; both times
    ``stride``. A map without a positive value has its keypoint at (0, 0) with its largest value as score.

    Args:
        heatmaps: (N, K, H, W).
        stride: Pixels of the image from one cell to the next.

    Shapes: -> (N, K, 3) as x, y, score.

    Source: arXiv:1603.06937, section 3.1 (the quarter); arXiv:1902.09212; the authors' ``get_final_preds``.
    """
    number, kinds, height, width = heatmaps.shape
    flat = heatmaps.reshape(number, kinds, -1)
    scores = flat.max(-1)
    y, x = np.divmod(flat.argmax(-1), width)
    found = np.zeros((number, kinds, 3))
    for place in np.ndindex(number, kinds):
        row, column, image = int(y[place]), int(x[place]), heatmaps[place]
        right = down = 0.0
        if 1 < column < width - 1 and 1 < row < height - 1:
            right = 0.25 * np.sign(image[row, column + 1] - image[row, column - 1])
            down = 0.25 * np.sign(image[row + 1, column] - image[row - 1, column])
        is_there = float(scores[place] > 0)
        found[place] = (column + right) * stride * is_there, (row + down) * stride * is_there, scores[place]
    return found
