"""Detections and masks beside the dataset's objects, image by image, as average precision takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.dataset import Dataset
from cnnbench.training.decoders.boxes import Detections, box_areas
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.detection import FoundObjects, mean_average_precision
from cnnbench.training.metrics.overlap import box_overlap, mask_overlap
from cnnbench.training.metrics.statistic import Statistic

Array = NDArray[Any]
Objects = Callable[[Decoded, Dataset, int], FoundObjects]


def average_precision(
    objects: Objects, thresholds: Sequence[float], decoded: Sequence[Decoded], dataset: Dataset
) -> Statistic:
    """COCO's over all classes of the dataset.

    Args:
        objects: What was found in an image and is there, from what was decoded of it, the dataset and its place there.
        thresholds: Of overlap.
        decoded: Of each image.
        dataset: With the truth.
    """
    most = getattr(objects, "most", 100)
    found = [objects(item, dataset, place) for place, item in enumerate(decoded)]
    return mean_average_precision(found, len(dataset.classes), thresholds, most=most)


def of_boxes(item: Decoded, dataset: Dataset, place: int) -> FoundObjects:
    """Boxes of one image.

    Args:
        item: With detections.
        dataset: With ``boxes``, ``box_classes``, and where there are such ``crowd`` and ``areas``.
        place: Of the image.
    """
    found = _detections(item)
    boxes, crowd = np.asarray(dataset.truth["boxes"][place], np.float64), crowd_of(dataset, place)
    return FoundObjects(
        scores=found.scores,
        classes=found.classes,
        areas=box_areas(found.boxes),
        true_classes=dataset.truth["box_classes"][place],
        true_areas=areas_of(dataset, place, box_areas(boxes)),
        crowd=crowd,
        overlap=box_overlap(found.boxes.reshape(-1, 4), boxes, crowd),
    )


def of_masks(item: Decoded, dataset: Dataset, place: int) -> FoundObjects:
    """Masks of one image.

    Args:
        item: With detections and their masks.
        dataset: With ``masks`` besides what ``of_boxes`` needs.
        place: Of the image.
    """
    found, masks = _detections(item), item.masks
    truth, crowd = dataset.truth["masks"][place], crowd_of(dataset, place)
    if masks is None or masks.shape != (len(found), *truth.shape[1:]):
        received = None if masks is None else masks.shape
        raise DataError("masks are not those of the detections", received=received, expected=truth.shape[1:])
    sizes = truth.sum((1, 2), dtype=np.float64)
    return FoundObjects(
        scores=found.scores,
        classes=found.classes,
        areas=masks.sum((1, 2), dtype=np.float64),
        true_classes=dataset.truth["box_classes"][place],
        true_areas=areas_of(dataset, place, sizes),
        crowd=crowd,
        overlap=mask_overlap(masks, truth, crowd),
    )


def crowd_of(dataset: Dataset, place: int) -> NDArray[np.bool_]:
    """(M,): which of an image's rows are crowds; none where the dataset knows of none."""
    crowd = dataset.truth.get("crowd")
    rows = len(dataset.truth["box_classes"][place])
    return np.zeros(rows, bool) if crowd is None else np.asarray(crowd[place], bool)


def areas_of(dataset: Dataset, place: int, measured: Array) -> Array:
    """(M,): the areas that the dataset declares, or the measured ones.

    Args:
        dataset: With the truth ``areas`` or without.
        place: Of the image.
        measured: Of its rows.
    """
    areas = dataset.truth.get("areas")
    return measured if areas is None else np.asarray(areas[place], np.float64)


def _detections(item: Decoded) -> Detections:
    if item.detections is None:
        raise DataError("nothing was detected: the network gives no boxes")
    return item.detections
