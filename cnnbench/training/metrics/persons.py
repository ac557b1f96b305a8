"""Persons found beside the dataset's: their similarity, which is which, and the figures that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.dataset import Dataset
from cnnbench.training.decoders.boxes import box_areas
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.detection import FoundObjects
from cnnbench.training.metrics.keypoints import oks, pck
from cnnbench.training.metrics.objects import areas_of, crowd_of
from cnnbench.training.metrics.overlap import keypoint_overlap
from cnnbench.training.metrics.statistic import Statistic

Array = NDArray[Any]

# COCO's deviations of people's marks by the part of the body, and the neck, which COCO has not, as a shoulder.
SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "neck": 0.079, "elbow": 0.072, "wrist": 0.062,
    "hip": 0.107, "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
OTHER_SIGMA = 0.05
MOST_PERSONS = 20
NOWHERE = 1e9  # pixels: where a point lies that was not found


def sigmas_of(dataset: Dataset) -> tuple[float, ...]:
    """One for each point by its name, ``left_`` and ``right_`` left out."""
    count = dataset.truth["keypoints"].shape[2]
    names = dataset.names.get("keypoints", ("",) * count)
    return tuple(SIGMAS.get(name.removeprefix("left_").removeprefix("right_"), OTHER_SIGMA) for name in names)


def of_keypoints(item: Decoded, dataset: Dataset, place: int) -> FoundObjects:
    """Persons of one image, as COCO's evaluation takes them: one without a labelled point does not count.

    A person's score is the mean of its points' scores, of those that were found.

    Args:
        item: With keypoints.
        dataset: With ``keypoints``, ``boxes``, ``box_classes``, and where there are such ``crowd`` and ``areas``.
        place: Of the image.
    """
    found, truth = _persons(item, dataset), np.asarray(dataset.truth["keypoints"][place], np.float64)
    boxes = np.asarray(dataset.truth["boxes"][place], np.float64)
    areas = true_areas(dataset, place)
    seen = found[..., 2] > 0
    scores = np.where(seen, found[..., 2], 0).sum(1) / np.maximum(seen.sum(1), 1)
    order = np.argsort(-scores, kind="stable")[:MOST_PERSONS]
    found, scores = found[order], scores[order]
    corners = np.concatenate([found[..., :2].min(1), found[..., :2].max(1)], 1) if len(found) else np.zeros((0, 4))
    return FoundObjects(
        scores=scores,
        classes=np.zeros(len(found), np.int64),
        areas=box_areas(corners),
        true_classes=dataset.truth["box_classes"][place],
        true_areas=areas,
        crowd=crowd_of(dataset, place),
        overlap=keypoint_overlap(found, truth, boxes, areas, sigmas_of(dataset)),
        ignored=np.asarray(~(truth[..., 2] > 0).any(1)),
    )


def near_points(decoded: Sequence[Decoded], dataset: Dataset) -> Statistic:
    """PCK at 0.1 of the longer side of a person's box; points of a person who was not found lie nowhere."""
    boxes = np.asarray(dataset.truth["boxes"], np.float64)
    scales = (boxes[..., 2:] - boxes[..., :2]).max(-1)
    return pck(matched(decoded, dataset), dataset.truth["keypoints"], scales)


def similarity(decoded: Sequence[Decoded], dataset: Dataset) -> Statistic:
    """OKS of the persons of an image, averaged over images."""
    areas = np.array([true_areas(dataset, place) for place in range(len(dataset))])
    return oks(matched(decoded, dataset), dataset.truth["keypoints"], areas, sigmas_of(dataset))


def matched(decoded: Sequence[Decoded], dataset: Dataset) -> Array:
    """(N, P, K, 2): the person found for each of the truth, the most similar pair first, each one once."""
    truth = np.asarray(dataset.truth["keypoints"], np.float64)
    result = np.full((*truth.shape[:3], 2), NOWHERE)
    for place, item in enumerate(decoded):
        found = _persons(item, dataset)
        boxes = np.asarray(dataset.truth["boxes"][place], np.float64)
        similar = keypoint_overlap(found, truth[place], boxes, true_areas(dataset, place), sigmas_of(dataset))
        similar[:, ~(truth[place, ..., 2] > 0).any(1)] = -1.0
        while similar.size and similar.max() >= 0:
            row, person = np.unravel_index(int(similar.argmax()), similar.shape)
            points = found[row]
            result[place, person] = np.where(points[:, 2:] > 0, points[:, :2], NOWHERE)
            similar[row], similar[:, person] = -1.0, -1.0
    return result


def true_areas(dataset: Dataset, place: int) -> Array:
    """(M,): declared, else of the masks, else of the boxes."""
    masks = dataset.truth.get("masks")
    boxes = np.asarray(dataset.truth["boxes"][place], np.float64)
    measured = box_areas(boxes) if masks is None else masks[place].sum((1, 2), dtype=np.float64)
    return areas_of(dataset, place, measured)


def _persons(item: Decoded, dataset: Dataset) -> Array:
    """(P, K, 3); a background's map is no point."""
    count = dataset.truth["keypoints"].shape[2]
    if item.keypoints is None or item.keypoints.shape[1] not in (count, count + 1):
        received = None if item.keypoints is None else item.keypoints.shape
        raise DataError("keypoints are not those of the dataset", received=received, expected=f"(P, {count}, 3)")
    return np.asarray(item.keypoints[:, :count], np.float64)
