"""A figure over images, and its interval: exact for shares of images, by the bootstrap for all else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.spec.streams import stream
from cnnbench.training.metrics.intervals import NOT_DEFINED, influences, share_interval, studentised

Array = NDArray[Any]

RESAMPLES = 1000
CONFIDENCE = 0.95


class Statistic(Protocol):
    """What was found in each image of a set, from which a figure follows for any choice of them."""

    def __len__(self) -> int:
        """The number of images."""

    def of(self, images: NDArray[np.int64]) -> float:
        """The figure over these images, one of which may occur several times; NaN where it is not defined."""


@dataclass(frozen=True)
class MetricValue:
    """A figure and between which values it lies with a confidence of 95 %.

    Args:
        value: Over all images; NaN where it is not defined for them.
        low, high: The interval over images; NaN where there is none.
        images: How many there are.
    """

    value: float
    low: float
    high: float
    images: int


def measured(statistic: Statistic, seed: int = 0, resamples: int = RESAMPLES) -> MetricValue:
    """The figure over all images with its interval: exact for a share of images, else by the studentised bootstrap.

    Args:
        statistic: Of at least one image.
        seed: Of the choices, from the stream ``bootstrap``.
        resamples: How many choices of as many images, with replacement.

    There is no interval where all images agree in what is no share of images, or where a statistic says that it has
    not enough of them (``is_enough``).

    Raises:
        DataError: No image.
    """
    value = statistic.of(_all(statistic))
    count = len(statistic)
    if isinstance(statistic, MeanStatistic) and statistic.is_share:
        known = statistic.figures[~np.isnan(statistic.figures)]
        return MetricValue(value, *share_interval(int(known.sum()), len(known), CONFIDENCE), count)
    if not getattr(statistic, "is_enough", True):
        return MetricValue(value, *NOT_DEFINED, count)
    choices = _choices(count, seed, resamples)
    drawn = np.array([statistic.of(choice) for choice in choices])
    ends = studentised(value, drawn, choices, influences(statistic), CONFIDENCE)
    return MetricValue(value, *ends, count)


@dataclass(frozen=True, eq=False)
class MeanStatistic:
    """The mean of a figure that each image has; images without one (NaN) are left out.

    Args:
        figures: (N,).
    """

    figures: Array

    def __len__(self) -> int:
        return len(self.figures)

    @property
    def is_share(self) -> bool:
        """Whether each image is right or wrong, so that the mean is a share of images."""
        known = self.figures[~np.isnan(self.figures)]
        return bool(known.size) and bool(np.isin(known, (0, 1)).all())

    def of(self, images: NDArray[np.int64]) -> float:
        """Their mean."""
        chosen = self.figures[images]
        chosen = chosen[~np.isnan(chosen)]
        return float(chosen.mean()) if chosen.size else float("nan")


def finite(values: Array, what: str) -> Array:
    """The values in float64. Raises DataError where one is NaN or infinite."""
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise DataError(f"{what} must be finite numbers", received=f"{int((~np.isfinite(found)).sum())} that are not")
    return found


def same_images(**arrays: Array) -> None:
    """Raises DataError where these do not have one row for each image."""
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise DataError("one row for each image is expected", received=counts)


def _all(statistic: Statistic) -> NDArray[np.int64]:
    if not len(statistic):
        raise DataError("a metric needs at least one image")
    return np.arange(len(statistic))


def _choices(count: int, seed: int, resamples: int) -> NDArray[np.int64]:
    return stream(seed, "bootstrap").integers(0, count, (resamples, count))
