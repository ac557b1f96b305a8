"""The core's metrics: from what was decoded of each image and the dataset's truth to a statistic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.training.dataset import Dataset
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics import objects, persons
from cnnbench.training.metrics.anomaly import auroc
from cnnbench.training.metrics.captions import bleu, exact_match
from cnnbench.training.metrics.detection import THRESHOLDS
from cnnbench.training.metrics.generative import (
    covered_classes,
    frechet_distance,
    psnr,
    recognised,
    reconstruction_error,
)
from cnnbench.training.metrics.registry import ImageMetric
from cnnbench.training.metrics.segmentation import Figure, segmentation
from cnnbench.training.metrics.statistic import MeanStatistic, Statistic
from cnnbench.training.metrics.structure import structural_similarity

Array = NDArray[Any]
Many = Sequence[Decoded]
HALF = (0.5,)
POSITIVE, SIGNED, ANY = (0.0, np.inf), (-1.0, 1.0), (-np.inf, np.inf)


def accuracy(decoded: Many, dataset: Dataset) -> Statistic:
    """The share of images whose class is found."""
    found = np.array([item.label for item in decoded], np.int64)
    return MeanStatistic((found == dataset.labels).astype(np.float64))


def of_pixels(figure: Figure, decoded: Many, dataset: Dataset) -> Statistic:
    """A figure of a segmentation.

    Args:
        figure: Which.
        decoded: With pixels.
        dataset: With the truth ``segmentation``.
    """
    truth = dataset.truth["segmentation"]
    found = np.array([item.pixels for item in decoded], np.int64).reshape(truth.shape)
    classes = len(dataset.names.get("segmentation", ())) or int(max(truth.max(), found.max())) + 1
    return segmentation(found, truth, classes, figure=figure)


def of_captions(measure: Callable[[Any, Any], Statistic], decoded: Many, dataset: Dataset) -> Statistic:
    """A figure of captions.

    Args:
        measure: Of captions and each one's references.
        decoded: With words.
        dataset: With the truth ``captions``, or ``references`` (N, R, T) where an image has several.
    """
    several = dataset.truth.get("references", dataset.truth["captions"][:, None])
    found = [item.words or () for item in decoded]
    return measure(found, [_sentences(rows) for rows in several])


def of_pictures(measure: Callable[[Array, Array], Statistic], decoded: Many, dataset: Dataset) -> Statistic:
    """A figure of pictures beside the images that they are to equal: the network's own, or ``counterparts``.

    Args:
        measure: Of reconstructions and images.
        decoded: With pictures, in the unit of the dataset's images.
        dataset: With the images, and the truth ``counterparts`` where another domain is to be met.
    """
    wanted = dataset.truth.get("counterparts", dataset.images)
    return measure(_stacked(decoded, "picture"), wanted.astype(np.float64))


def anomalies(decoded: Many, dataset: Dataset) -> Statistic:
    """AUROC of the error of each image's reconstruction."""
    errors = reconstruction_error(_stacked(decoded, "picture"), dataset.images.astype(np.float64))
    return auroc(errors.figures, dataset.truth["anomalous"])


def features(decoded: Many, dataset: Dataset) -> Statistic:
    """The Fréchet distance of generated pictures' features from the truth ``features`` of real ones."""
    return frechet_distance(_stacked(decoded, "features"), dataset.truth["features"])


def samples(decoded: Many, dataset: Dataset) -> Statistic:
    """The share of generated pictures that a classifier recognises with a confidence of 0.8."""
    return recognised(_stacked(decoded, "probabilities"))


def coverage(decoded: Many, dataset: Dataset) -> Statistic:
    """The number of classes that a classifier recognises among generated pictures, with a confidence of 0.8."""
    return covered_classes(_stacked(decoded, "probabilities"))


def _peak_signal(found: Array, truth: Array) -> Statistic:
    return psnr(found, truth, float(truth.max() - truth.min()))


def _structure(found: Array, truth: Array) -> Statistic:
    return structural_similarity(found, truth, float(truth.max() - truth.min()))


def _stacked(decoded: Many, name: str) -> Array:
    return np.array([getattr(item, name) for item in decoded], np.float64)


def _sentences(rows: Array) -> list[tuple[int, ...]]:
    """Words up to the end; rows without a word are padding unless there is no other."""
    found = [tuple(int(word) for word in row[: int(np.cumprod(row != 0).sum())]) for row in rows]
    return [words for words in found if words] or [()]


PIXELS, WORDS, PICTURE = ("pixels",), ("words",), ("picture",)
BOXES, MASKS, POINTS = ("detections",), ("detections", "masks"), ("keypoints",)
TRUE_BOXES, TRUE_MASKS = ("boxes", "box_classes"), ("boxes", "box_classes", "masks")
TRUE_POINTS = ("keypoints", "boxes", "box_classes")
AP = objects.average_precision

SHIPPED = (
    ImageMetric("accuracy", ("label",), (), accuracy),
    ImageMetric("mean_iou", PIXELS, ("segmentation",), partial(of_pixels, "mean_iou")),
    ImageMetric("mean_dice", PIXELS, ("segmentation",), partial(of_pixels, "mean_dice")),
    ImageMetric("pixel_accuracy", PIXELS, ("segmentation",), partial(of_pixels, "pixel_accuracy")),
    ImageMetric("ap", BOXES, TRUE_BOXES, partial(AP, objects.of_boxes, THRESHOLDS)),
    ImageMetric("ap50", BOXES, TRUE_BOXES, partial(AP, objects.of_boxes, HALF)),
    ImageMetric("mask_ap", MASKS, TRUE_MASKS, partial(AP, objects.of_masks, THRESHOLDS)),
    ImageMetric("mask_ap50", MASKS, TRUE_MASKS, partial(AP, objects.of_masks, HALF)),
    ImageMetric("keypoint_ap", POINTS, TRUE_POINTS, partial(AP, persons.of_keypoints, THRESHOLDS)),
    ImageMetric("keypoint_ap50", POINTS, TRUE_POINTS, partial(AP, persons.of_keypoints, HALF)),
    ImageMetric("pck", POINTS, TRUE_POINTS, persons.near_points),
    ImageMetric("oks", POINTS, TRUE_POINTS, persons.similarity),
    ImageMetric("exact_captions", WORDS, ("captions",), partial(of_captions, exact_match)),
    ImageMetric("bleu", WORDS, ("captions",), partial(of_captions, bleu)),
    ImageMetric("auroc", PICTURE, ("anomalous",), anomalies),
    ImageMetric(
        "reconstruction_error",
        PICTURE,
        (),
        partial(of_pictures, reconstruction_error),
        False,
        limits=POSITIVE,
        margin=0.05,
        relative=True,
    ),
    ImageMetric("psnr", PICTURE, (), partial(of_pictures, _peak_signal), unit="dB", limits=ANY, margin=0.2),
    ImageMetric("ssim", PICTURE, (), partial(of_pictures, _structure), limits=SIGNED, default=False),
    ImageMetric(
        "frechet_distance", ("features",), ("features",), features, False, limits=POSITIVE, margin=0.05, relative=True
    ),
    ImageMetric("recognised", ("probabilities",), (), samples),
    ImageMetric("covered_classes", ("probabilities",), (), coverage, limits=POSITIVE),
)
