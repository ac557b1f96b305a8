"""Structural similarity of pictures: how alike they are in brightness, contrast and structure, place by place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.metrics.statistic import MeanStatistic, finite, same_images

Array = NDArray[Any]
SIGMA, REACH = 1.5, 5  # a Gaussian window of 11 x 11
K1, K2 = 0.01, 0.03


def structural_similarity(found: Array, truth: Array, peak: float = 1.0) -> MeanStatistic:
    """SSIM of each image: the mean over channels and over places whose window lies within the picture.

    Args:
        found: (N, C, H, W).
        truth: The same shape.
        peak: The largest value minus the smallest that an image can have.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), section III.

    Raises:
        DataError: Other shapes, or pictures smaller than the window.
    """
    from scipy.ndimage import gaussian_filter

    same_images(found=found, truth=truth)
    if found.shape != truth.shape or min(truth.shape[2:]) <= 2 * REACH:
        expected = f"pictures of {2 * REACH + 1} pixels or more a side"
        raise DataError("pictures do not fit", received=(found.shape, truth.shape), expected=expected)
    x, y = finite(found, "pictures"), finite(truth, "pictures")

    def smooth(values: Array) -> Array:
        blurred = gaussian_filter(values, (0, 0, SIGMA, SIGMA), radius=(0, 0, REACH, REACH))
        return np.asarray(blurred[:, :, REACH:-REACH, REACH:-REACH])

    mean_x, mean_y = smooth(x), smooth(y)
    spread_x, spread_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    common = smooth(x * y) - mean_x * mean_y
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * common + c2)
    alike = alike / ((mean_x**2 + mean_y**2 + c1) * (spread_x + spread_y + c2))
    return MeanStatistic(alike.reshape(len(alike), -1).mean(1))
