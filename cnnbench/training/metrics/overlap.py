"""How much what was found overlaps what is there: boxes, masks and keypoints, as COCO's evaluation takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.training.decoders.boxes import box_areas, common_areas
from cnnbench.training.metrics.statistic import finite

Array = NDArray[Any]


def box_overlap(boxes: Array, truth: Array, crowd: Array) -> Array:
    """Intersection over union of boxes (D, 4) with (M, 4) -> (D, M); for a crowd over the detection's area alone.

    Args:
        boxes: Corners x1, y1, x2, y2 of what was found.
        truth: The same of the objects.
        crowd: (M,).
    """
    boxes, truth = finite(boxes, "boxes"), finite(truth, "true boxes")
    return _share(common_areas(boxes, truth), box_areas(boxes), box_areas(truth), crowd)


def mask_overlap(masks: Array, truth: Array, crowd: Array) -> Array:
    """The same of masks (D, H, W) with (M, H, W) of 0 and 1 -> (D, M).

    Args:
        masks: 1 where the object was found.
        truth: 1 where it is.
        crowd: (M,).
    """
    mine = masks.reshape(len(masks), int(np.prod(masks.shape[1:]))).astype(np.float64)
    right = truth.reshape(len(truth), int(np.prod(truth.shape[1:]))).astype(np.float64)
    return _share(mine @ right.T, mine.sum(1), right.sum(1), crowd)


def keypoint_overlap(found: Array, truth: Array, boxes: Array, areas: Array, sigmas: Sequence[float]) -> Array:
    """COCO's similarity of each found person with each true one: (D, K, 2 or more) with (M, K, 3) -> (D, M).

    A person without a labelled point is as similar as all points lie near its box made three times as wide and high.

    Args:
        found: x and y in pixels.
        truth: x, y and visibility, 0 where a point is not labelled.
        boxes: (M, 4) corners of the true persons.
        areas: (M,) of them.
        sigmas: One for each point.

    Source: COCO's keypoint evaluation, https://cocodataset.org/#keypoints-eval, and the code published with it.
    """
    places, boxes = finite(found[..., :2], "keypoints"), finite(boxes, "true boxes")
    labelled = truth[None, :, :, 2] > 0
    gaps = places[:, None] - np.where(truth[None, ..., 2:] > 0, truth[None, ..., :2], 0.0)
    sides = boxes[:, 2:] - boxes[:, :2]
    below = (boxes[:, :2] - sides)[None, :, None] - places[:, None]
    above = places[:, None] - (boxes[:, 2:] + sides)[None, :, None]
    outside = np.maximum(below, 0) + np.maximum(above, 0)
    is_known = np.asarray(labelled.any(2))
    distances = np.where(is_known[..., None], (gaps**2).sum(-1), (outside**2).sum(-1))
    widths = (2 * np.asarray(sigmas, np.float64)) ** 2
    near = np.exp(-distances / widths / (np.asarray(areas, np.float64)[None, :, None] + np.spacing(1)) / 2)
    counted = labelled | ~is_known[..., None]
    return np.asarray(np.where(counted, near, 0).sum(2) / np.maximum(counted.sum(2), 1))


def _share(common: Array, areas: Array, true_areas: Array, crowd: Array) -> Array:
    union = np.where(np.asarray(crowd, bool)[None], areas[:, None], areas[:, None] + true_areas[None] - common)
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))
