"""Between which values a figure lies: exactly for shares of images, by the studentised bootstrap for all else."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Array = NDArray[Any]
NOT_DEFINED = (float("nan"), float("nan"))
LEAST_IMAGES = 3


class OfImages(Protocol):
    """A figure for any choice of images: a ``Statistic``."""

    def __len__(self) -> int:
        """The number of images."""

    def of(self, images: NDArray[np.int64]) -> float:
        """The figure over these images."""


def share_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share of independent trials: it covers at least with the confidence, often more.

    Args:
        successes: Of the trials.
        trials: At least one.
        confidence: From 0 to 1.

    Source: Clopper, Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial" (1934).
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(successes, trials - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, trials - successes, 1 - tail)) if successes < trials else 1.0
    return low, high


def influences(statistic: OfImages) -> Array:
    """(N,): how much each image moves the figure: (N - 1) (mean of the figures without one - that without this)."""
    count = len(statistic)
    everything = np.arange(count)
    without = np.array([statistic.of(np.delete(everything, place)) for place in everything])
    return np.asarray((count - 1) * (without.mean() - without))


def standard_error(moved: Array) -> float:
    """The jackknife's, from the influences."""
    count = len(moved)
    return float(np.sqrt((moved**2).sum() / (count * (count - 1)))) if count > 1 else float("nan")


def studentised(
    value: float, drawn: Array, choices: NDArray[np.int64], moved: Array, confidence: float
) -> tuple[float, float]:
    """The interval by the bootstrap of t: (figure of a choice - figure) / its standard error.

    The standard error of a choice follows from the influences of its images. It carries how skewed the figures of
    images are into the interval, which percentiles of the choices' figures do not for few images.

    Args:
        value: Of all images.
        drawn: (B,) of the choices.
        choices: (B, N) of images.
        moved: (N,) influences.
        confidence: From 0 to 1.

    Source: Efron, Tibshirani, "An introduction to the bootstrap" (1993), sections 12.5 and 11.

    Returns:
        (low, high); NaN where the figure is not defined for most choices, or without some image, or below three images.
    """
    count = len(moved)
    if count < LEAST_IMAGES or not np.isfinite(value) or not np.isfinite(moved).all():
        return NOT_DEFINED
    chosen = moved[choices]
    errors = chosen.std(1) / np.sqrt(count - 1)
    usable = np.isfinite(drawn) & (errors > 1e-12 * max(1.0, abs(value)))
    if 2 * usable.sum() < len(drawn):
        return NOT_DEFINED
    ratios = (drawn[usable] - value) / errors[usable]
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    error = standard_error(moved)
    return float(value - high * error), float(value - low * error)
