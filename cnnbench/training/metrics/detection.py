"""Mean average precision of detections as COCO defines it, for boxes, masks and keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.metrics.statistic import finite

Array = NDArray[Any]

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_DETECTIONS = 100
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """What was found in one image, what is there, and how much each of the one overlaps each of the other.

    Args:
        scores, classes: (D,) of detections. areas: (D,) in square pixels.
        true_classes: (M,), below 0 in rows without an object. true_areas: (M,). crowd: (M,), whether a row is a crowd,
            which any number of detections may match without counting.
        overlap: (D, M): intersection over union, or similarity of keypoints; for a crowd the share of the detection
            that lies in it. See ``overlap``.
        ignored: (M,), whether an object counts neither for nor against, but is matched once; None for none.
    """

    scores: Array
    classes: Array
    areas: Array
    true_classes: Array
    true_areas: Array
    crowd: Array
    overlap: Array
    ignored: Array | None = None

    @property
    def left_out(self) -> NDArray[np.bool_]:
        """(M,): the objects that do not count."""
        crowd = np.asarray(self.crowd, bool)
        return crowd if self.ignored is None else crowd | np.asarray(self.ignored, bool)

    def __post_init__(self) -> None:
        finite(self.scores, "scores")
        finite(self.overlap, "overlaps")
        if self.overlap.shape != (len(self.scores), len(self.true_classes)):
            raise DataError(
                "overlaps are not those of the detections and the truth",
                received=self.overlap.shape,
                expected=(len(self.scores), len(self.true_classes)),
            )


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """Detections of a class over all images, images in order, each image's by falling score."""

    scores: Array
    images: Array
    right: NDArray[np.bool_]  # (thresholds, detections)
    ignored: NDArray[np.bool_]
    objects: Array  # that count, for each image


@dataclass(frozen=True, eq=False)
class AveragePrecisionStatistic:
    """Matches of detections to objects, class by class, from which the mean average precision follows.

    Args:
        matches: For each class.
        images: How many there are.
    """

    matches: tuple[ClassMatches, ...]
    images: int

    def __len__(self) -> int:
        return self.images

    def of(self, images: NDArray[np.int64]) -> float:
        """The mean over thresholds and over the classes that have an object; NaN where none has."""
        counts = np.bincount(images, minlength=self.images)
        found = [_precisions(item, counts) for item in self.matches]
        defined = [precision for precision in found if precision is not None]
        return float(np.mean(defined)) if defined else float("nan")


def mean_average_precision(
    images: Sequence[FoundObjects],
    classes: int,
    thresholds: Sequence[float] = THRESHOLDS,
    area: str = "all",
    most: int = MOST_DETECTIONS,
) -> AveragePrecisionStatistic:
    """Matches every image's detections, by falling score, each to the object that it overlaps most.

    An object is matched once, a crowd any number of times; an object outside of the range of areas, a crowd, what
    matches one of these and an unmatched detection outside of the range count neither for nor against. Precision at
    each of 101 recalls is the highest at that recall or beyond; their mean is the average precision. Detections of
    equal score keep the order of images and, within one, their own.

    Args:
        images: What was found and is there.
        classes: How many there are, from 0.
        thresholds: Of overlap, at which a detection is right: ``(0.5,)`` for AP50.
        area: A range of ``AREAS``.
        most: Detections of a class and an image that count.

    Source: Lin et al., "Microsoft COCO: common objects in context" (2014), and the evaluation code published with it.

    Raises:
        DataError: An unknown range of areas, or a class that does not exist.
    """
    if area not in AREAS:
        raise DataError("there is no such range of areas", received=area, expected=", ".join(AREAS))
    for item in images:
        numbers = np.concatenate([np.asarray(item.classes), np.asarray(item.true_classes)])
        if (numbers >= classes).any() or (np.asarray(item.classes) < 0).any():
            raise DataError(
                "a class does not exist", received=np.unique(numbers).tolist(), expected=f"0 to {classes - 1}"
            )
    limits = np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)
    matches = []
    for number in range(classes):
        parts = [_matched(item, number, limits, AREAS[area], most) for item in images]
        matches.append(
            ClassMatches(
                scores=np.concatenate([part[0] for part in parts] or [np.zeros(0)]),
                images=np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts]),
                right=np.concatenate([part[1] for part in parts] or [np.zeros((len(limits), 0), bool)], 1),
                ignored=np.concatenate([part[2] for part in parts] or [np.zeros((len(limits), 0), bool)], 1),
                objects=np.array([part[3] for part in parts], np.int64),
            )
        )
    return AveragePrecisionStatistic(tuple(matches), len(images))


def _matched(
    item: FoundObjects, number: int, limits: Array, area: tuple[float, float], most: int
) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_], int]:
    """(scores, right, ignored, objects that count) of one class in one image."""
    mine = np.flatnonzero(np.asarray(item.classes) == number)
    mine = mine[np.argsort(-item.scores[mine], kind="stable")][:most]
    true = np.flatnonzero(np.asarray(item.true_classes) == number)
    areas = item.true_areas[true]
    left_out = item.left_out[true] | (areas < area[0]) | (areas > area[1])
    order = np.argsort(left_out, kind="stable")
    true, left_out = true[order], left_out[order]
    crowd = np.asarray(item.crowd, bool)[true]
    overlap = item.overlap[np.ix_(mine, true)]
    right, ignored = np.zeros((2, len(limits), len(mine)), bool)
    for place, limit in enumerate(limits):
        taken = np.zeros(len(true), bool)
        for row in range(len(mine)):
            best = _best(overlap[row], limit, taken & ~crowd, left_out)
            if best is not None:
                taken[best] = True
                right[place, row], ignored[place, row] = True, left_out[best]
    sizes = item.areas[mine]
    ignored |= ~right & ((sizes < area[0]) | (sizes > area[1]))
    return item.scores[mine], right, ignored, int((~left_out).sum())


def _best(overlap: Array, limit: float, taken: Array, left_out: Array) -> int | None:
    """What is overlapped most, at least by the limit: one that counts if there is any; the last of equals."""
    for group in (~left_out, left_out):
        places = np.flatnonzero(group & ~taken & (overlap >= limit))
        if len(places):
            values = overlap[places]
            return int(places[np.flatnonzero(values == values.max())[-1]])
    return None


def _precisions(item: ClassMatches, counts: Array) -> float | None:
    """The average precision of a class over images that occur so often; None without an object."""
    objects = int((item.objects * counts).sum())
    if not objects:
        return None
    rows = np.repeat(np.arange(len(item.scores)), counts[item.images])
    rows = rows[np.argsort(-item.scores[rows], kind="stable")]
    counted = ~item.ignored[:, rows]
    right = np.cumsum(item.right[:, rows] & counted, 1, dtype=np.float64)
    wrong = np.cumsum(~item.right[:, rows] & counted, 1, dtype=np.float64)
    total = 0.0
    for hits, misses in zip(right, wrong, strict=True):
        precision = hits / (hits + misses + np.spacing(1.0))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(hits / objects, RECALLS, side="left")
        inside = places < len(precision)
        total += float(precision[places[inside]].sum()) / len(RECALLS)
    return total / len(right)
