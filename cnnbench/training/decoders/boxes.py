"""From a detector's outputs to lists of detections: YOLO's grid, suppression, padded rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Detections:
    """What was found in one image, by falling score.

    Args:
        boxes: (M, 4) corners x1, y1, x2, y2 in pixels; the area of a box is (x2 - x1) (y2 - y1).
        scores: (M,). classes: (M,) from 0.
    """

    boxes: Array
    scores: Array
    classes: Array

    def __len__(self) -> int:
        return len(self.boxes)


def box_areas(boxes: Array) -> Array:
    """(x2 - x1) (y2 - y1) of boxes (M, 4), 0 where a side is negative."""
    return np.asarray(np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(-1))


def common_areas(first: Array, second: Array) -> Array:
    """The area that boxes (A, 4) have in common with boxes (B, 4) -> (A, B)."""
    sides = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    return np.asarray(np.maximum(sides, 0).prod(-1))


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of boxes (A, 4) with boxes (B, 4) -> (A, B); 0 where the union is 0."""
    common = common_areas(first, second)
    union = box_areas(first)[:, None] + box_areas(second)[None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(union, np.float64), where=union > 0))


def suppressed(found: Detections, iou_threshold: float) -> Detections:
    """Greedy suppression within each class: by falling score, equal ones by rising index.

    A box stays unless one of its class that stayed overlaps it by more than the threshold.

    Args:
        found: Detections in any order.
        iou_threshold: From 0 to 1.
    """
    stay = staying(found, iou_threshold)
    return Detections(found.boxes[stay], found.scores[stay], found.classes[stay])


def staying(found: Detections, iou_threshold: float) -> list[int]:
    """The places of what ``suppressed`` leaves, by falling score.

    Args:
        found: Detections in any order.
        iou_threshold: From 0 to 1.
    """
    order = np.argsort(-found.scores, kind="stable")
    stays = np.zeros(len(found), bool)
    for kind in np.unique(found.classes):  # class by class: a matrix of all pairs would not fit thousands of regions
        members = order[found.classes[order] == kind]
        meets = overlaps(found.boxes[members], found.boxes[members]) > iou_threshold
        kept: list[int] = []
        for place in range(len(members)):
            if not meets[place, kept].any():
                kept.append(place)
        stays[members[kept]] = True
    return [int(index) for index in order[stays[order]]]


@dataclass(frozen=True)
class YoloGrid:
    """YOLO's last layer: for each cell of S x S, B boxes (x, y, w, h, confidence), then C class probabilities.

    The centre of a box of cell (i, j) is ((j + x) / S, (i + y) / S) of the image, its size (w^2, h^2) of it. Its score
    for a class is its confidence times the cell's probability of the class.

    Args:
        height, width: Of the image, in pixels.
        boxes: B.
        score_threshold: A class of a box with a smaller score is left out.
        iou_threshold: Of suppression.
        squared: Whether w and h are roots of the sizes.

    Source: arXiv:1506.02640, section 2 and equation 1; section 2.2 for the roots.
    """

    height: int
    width: int
    boxes: int = 2
    score_threshold: float = 0.2
    iou_threshold: float = 0.5
    squared: bool = True

    def decode(self, cells: Array) -> list[Detections]:
        """(N, S, S, 5 B + C) -> the detections of each image."""
        return [self._decode_one(np.asarray(image, np.float64)) for image in cells]

    def _decode_one(self, cells: Array) -> Detections:
        rows, columns, depth = cells.shape
        count = depth - 5 * self.boxes
        if count < 1:
            raise ValueError(f"{depth} values a cell hold no classes beside {self.boxes} boxes")
        boxes = cells[..., : 5 * self.boxes].reshape(rows, columns, self.boxes, 5)
        across, down = np.arange(columns)[None, :, None], np.arange(rows)[:, None, None]
        x = (across + boxes[..., 0]) / columns * self.width
        y = (down + boxes[..., 1]) / rows * self.height
        sizes = boxes[..., 2:4] ** 2 if self.squared else boxes[..., 2:4]
        w, h = sizes[..., 0] * self.width / 2, sizes[..., 1] * self.height / 2
        corners = np.stack([x - w, y - h, x + w, y + h], -1)
        limit = np.array([self.width, self.height] * 2, np.float64)
        corners = np.clip(corners, 0, limit).reshape(-1, 4)
        scores = boxes[..., 4:] * cells[..., None, 5 * self.boxes :]
        at, classes = np.nonzero(scores.reshape(-1, count) >= self.score_threshold)
        found = Detections(corners[at], scores.reshape(-1, count)[at, classes], classes)
        return suppressed(found, self.iou_threshold)


def detections_of(outputs: Mapping[str, Array], score_threshold: float = 0.0) -> list[Detections]:
    """The detections of each image from padded outputs, what lies behind an image's count left out.

    Args:
        outputs: ``boxes`` (N, M, 4), ``scores`` (N, M), ``counts`` (N,), and ``classes`` (N, M) where there are some.
        score_threshold: Detections with a smaller score are left out.
    """
    found = []
    for image, count in enumerate(outputs["counts"]):
        boxes, scores = outputs["boxes"][image][: int(count)], outputs["scores"][image][: int(count)]
        classes = outputs["classes"][image][: int(count)] if "classes" in outputs else np.zeros(len(scores))
        kept = scores >= score_threshold
        found.append(Detections(boxes[kept], scores[kept], np.asarray(classes, np.int64)[kept]))
    return found
