"""Metrics of poses: similarity of keypoints as COCO defines it, and the share of points that are near enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.metrics.statistic import MeanStatistic, finite, same_images

Array = NDArray[Any]

# COCO's constants for its 17 points, nose to ankles: the deviation of people's marks by size.
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
    0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PCKStatistic:
    """The share of labelled keypoints that lie near enough.

    Args:
        right, labelled: (N,) counts of an image's points.
    """

    right: Array
    labelled: Array

    def __len__(self) -> int:
        return len(self.labelled)

    def of(self, images: NDArray[np.int64]) -> float:
        """The share over the points of these images; NaN where none is labelled."""
        labelled = self.labelled[images].sum()
        return float(self.right[images].sum() / labelled) if labelled else float("nan")


def pck(found: Array, truth: Array, scales: Array, alpha: float = 0.1) -> PCKStatistic:
    """The share of labelled points within ``alpha`` times a person's scale.

    Args:
        found: (N, P, K, 2) or more columns: x and y in pixels, row by row the persons of the truth.
        truth: (N, P, K, 3): x, y and visibility, 0 where a point is not labelled and does not count.
        scales: (N, P) in pixels: the longer side of a person's box, say.
        alpha: The share of the scale.

    Source: Yang, Ramanan, "Articulated human detection with flexible mixtures of parts" (2013).

    Raises:
        DataError: Shapes that differ.
    """
    distances, labelled = _distances(found, truth)
    near = labelled & (distances <= alpha * np.asarray(scales, np.float64)[..., None])
    return PCKStatistic(near.sum((1, 2)), labelled.sum((1, 2)))


def object_keypoint_similarity(found: Array, truth: Array, areas: Array, sigmas: tuple[float, ...]) -> Array:
    """OKS of each person: the mean over labelled points of exp(-d^2 / (2 s^2 k^2)) with s^2 the area and k twice sigma.

    Args:
        found: (N, P, K, 2) or more columns: x and y in pixels, row by row the persons of the truth.
        truth: (N, P, K, 3): x, y and visibility.
        areas: (N, P) of the persons in pixels.
        sigmas: One for each point; ``COCO_SIGMAS`` for COCO's.

    Returns:
        (N, P); NaN where a person has no labelled point.

    Source: COCO's keypoint evaluation, https://cocodataset.org/#keypoints-eval.

    Raises:
        DataError: Shapes that differ.
    """
    distances, labelled = _distances(found, truth)
    if len(sigmas) != truth.shape[2]:
        raise DataError("one sigma for each keypoint is expected", received=len(sigmas), expected=truth.shape[2])
    widths = (2 * np.asarray(sigmas)) ** 2
    areas = np.asarray(areas, np.float64)[..., None] + np.spacing(1.0)
    near = np.where(labelled, np.exp(-(distances**2) / (2 * areas * widths)), 0.0)
    counts = labelled.sum(-1)
    return np.where(counts > 0, near.sum(-1) / np.maximum(counts, 1), np.nan)


def oks(found: Array, truth: Array, areas: Array, sigmas: tuple[float, ...] = COCO_SIGMAS) -> MeanStatistic:
    """The mean similarity of an image's labelled persons, averaged over images.

    Args:
        found: (N, P, K, 2) or more columns, as for ``object_keypoint_similarity``.
        truth: (N, P, K, 3).
        areas: (N, P).
        sigmas: One for each point.
    """
    similar = object_keypoint_similarity(found, truth, areas, sigmas)
    known = ~np.isnan(similar)
    counts = known.sum(1)
    sums = np.where(known, similar, 0.0).sum(1)
    return MeanStatistic(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def _distances(found: Array, truth: Array) -> tuple[Array, NDArray[np.bool_]]:
    """(N, P, K) distances in pixels, and which points are labelled."""
    same_images(found=found, truth=truth)
    if found.shape[:3] != truth.shape[:3]:
        raise DataError("keypoints are not those of the truth", received=found.shape[:3], expected=truth.shape[:3])
    labelled = np.asarray(truth[..., 2] > 0)
    places = np.where(labelled[..., None], found[..., :2], 0.0)
    gaps = finite(places, "keypoints") - np.where(labelled[..., None], truth[..., :2], 0.0)
    return np.hypot(gaps[..., 0], gaps[..., 1]), labelled
