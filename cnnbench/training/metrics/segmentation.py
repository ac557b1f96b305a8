"""Metrics of segmentations: intersection over union, Dice, the share of right pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.metrics.statistic import same_images

Array = NDArray[Any]
Figure = Literal["mean_iou", "mean_dice", "pixel_accuracy"]


@dataclass(frozen=True, eq=False)
class SegmentationStatistic:
    """How often pixels of one class were found to be of another, in each image.

    Args:
        confusion: (N, K, K) counts, the true class first.
        figure: With true positives TP, false positives FP and false negatives FN of a class, summed over images:
            ``mean_iou``, the mean of TP / (TP + FP + FN) over classes; ``mean_dice``, that of
            2 TP / (2 TP + FP + FN); ``pixel_accuracy``, the share of pixels of the right class. A class that occurs
            neither in truth nor in what was found is left out.

    Source: Everingham et al., "The Pascal visual object classes (VOC) challenge" (2010), section 4.3; Dice, "Measures
    of the amount of ecologic association between species" (1945).
    """

    confusion: Array
    figure: Figure = "mean_iou"

    def __len__(self) -> int:
        return len(self.confusion)

    def of(self, images: NDArray[np.int64]) -> float:
        """The figure over these images; NaN where no pixel counts."""
        counts = self.confusion[images].sum(0)
        right = np.diagonal(counts).astype(np.float64)
        sizes = counts.sum(0) + counts.sum(1)
        if not counts.sum():
            return float("nan")
        if self.figure == "pixel_accuracy":
            return float(right.sum() / counts.sum())
        occurs = sizes > 0
        if self.figure == "mean_iou":
            return float((right[occurs] / (sizes - right)[occurs]).mean())
        return float((2 * right[occurs] / sizes[occurs]).mean())


def segmentation(
    found: Array, truth: Array, classes: int, *, figure: Figure = "mean_iou", ignore: int | None = None
) -> SegmentationStatistic:
    """Counts pixels.

    Args:
        found: (N, *spatial) classes.
        truth: The right ones.
        classes: How many there are, the background among them.
        figure: What is to be computed.
        ignore: A value of the truth whose pixels do not count.

    Raises:
        DataError: Shapes that differ, or a class that does not exist.
    """
    same_images(found=found, truth=truth)
    if found.shape != truth.shape:
        raise DataError("a segmentation has another shape than the truth", received=found.shape, expected=truth.shape)
    for name, values in (("found", found), ("true", truth)):
        if values.dtype.kind not in "iu":
            raise DataError(f"{name} classes are whole numbers", received=str(values.dtype))
    counts = np.zeros((len(truth), classes, classes), np.int64)
    for place, (mine, right) in enumerate(zip(found.astype(np.int64), truth.astype(np.int64), strict=True)):
        counted = right != ignore if ignore is not None else np.ones(right.shape, bool)
        mine, right = mine[counted], right[counted]
        for name, values in (("found", mine), ("true", right)):
            outside = values[(values < 0) | (values >= classes)]
            if outside.size:
                raise DataError(
                    f"a {name} class does not exist", received=int(outside[0]), expected=f"0 to {classes - 1}"
                )
        counts[place] = np.bincount(right * classes + mine, minlength=classes**2).reshape(classes, classes)
    return SegmentationStatistic(counts, figure)
