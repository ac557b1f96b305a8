"""What a network of heat maps is trained towards: a Gaussian around each keypoint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SHARE = 32  # of a map's longer side: HRNet has a deviation of 2 cells on maps of 64 x 48, of 3 on 96 x 72


def keypoint_maps(keypoints: Array, image: tuple[int, int], maps: tuple[int, int]) -> dict[str, Array]:
    """The targets of ``keypoint_heatmaps``.

    Cell c lies at pixel c s, where s is the image's side over the map's, as ``keypoints_of`` decodes it. A map is
    exp(-d^2 / (2 sigma^2)), d the distance in cells to the nearest person's keypoint, sigma 1/32 of the longer side and
    at least 1; 0 throughout where no person's is labelled.

    Args:
        keypoints: (N, P, K, 3), x and y in pixels, visibility.
        image: Height and width in pixels.
        maps: Height and width in cells.

    Returns:
        ``targets`` (N, K, *maps) and ``visible`` (N, K), 1 where a keypoint is labelled; float32.

    Source: HRNet (Sun et al. 2019, arXiv:1902.09212, section 3). Its centre is rounded to a cell; this one is not.
    """
    sigma = max(1.0, max(maps) / SHARE)
    points = np.asarray(keypoints, np.float64)
    labelled = points[..., 2] > 0
    across, down = (
        np.exp(-((np.arange(cells) - points[..., axis, None] * cells / side) ** 2) / (2 * sigma**2))
        for axis, cells, side in ((0, maps[1], image[1]), (1, maps[0], image[0]))
    )
    across = np.where(labelled[..., None], across, 0.0)
    found = np.zeros((len(points), points.shape[2], *maps), np.float32)
    for person in range(points.shape[1]):
        found = np.maximum(found, down[:, person, :, :, None] * across[:, person, :, None, :], dtype=np.float32)
    return {"targets": found, "visible": np.asarray(labelled.any(1), np.float32)}
