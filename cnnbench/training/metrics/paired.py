"""How far a figure of one run lies from another's on the same images: an exact test, and an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from cnnbench.errors import DataError
from cnnbench.measurement.student import student_quantile
from cnnbench.spec.streams import stream
from cnnbench.training.metrics.anomaly import AUROCStatistic
from cnnbench.training.metrics.detection import AveragePrecisionStatistic, ClassMatches
from cnnbench.training.metrics.generative import FrechetStatistic
from cnnbench.training.metrics.intervals import influences
from cnnbench.training.metrics.kept import KINDS
from cnnbench.training.metrics.keypoints import PCKStatistic
from cnnbench.training.metrics.segmentation import SegmentationStatistic
from cnnbench.training.metrics.statistic import MeanStatistic, Statistic

Array = NDArray[Any]
EXCHANGES = 999  # with the images as they are, p values are multiples of 1 / 1000
SIGN_TEST, PERMUTATION_TEST = "exact sign test", "paired permutation test"


@dataclass(frozen=True)
class MetricDifference:
    """How far a figure of one run lies above another's on the same images.

    Args:
        value: The difference.
        error: Its standard error; NaN where the figure is not defined without some image.
        degrees: Of freedom behind it.
        p_value: Two-sided, of both runs being alike on every image. p_above: one-sided, small where the first is
            higher.
        differing: How many images move the figure where they alone are exchanged.
        images: How many there are.
        test: Its name.
    """

    value: float
    error: float
    degrees: float
    p_value: float
    p_above: float
    differing: int
    images: int
    test: str

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """(low, high) of the difference, by Student's t; NaN where there is no standard error."""
        reach = student_quantile((1 + confidence) / 2, self.degrees) * self.error if self.error else 0.0
        return self.value - reach, self.value + reach


def compared(first: Statistic, second: Statistic, seed: int = 0, exchanges: int = EXCHANGES) -> MetricDifference:
    """The first figure less the second on the same images.

    The test: were both runs alike, then what each image contributed might as well have come from the other run. So the
    two are exchanged image by image, at random, and the figures taken again: the p value is the share of exchanges,
    the images as they are among them, whose difference is as large. It holds its level for any number of images and
    any figure, near 1 too. For shares of images it is the sign test of the images that one of the two alone got right,
    computed exactly (McNemar). Where few images differ no p value can be small: of k images, 2^-k.

    The standard error is the jackknife's from the differences of the images' influences, with one more image added that
    differs as the most different one does, for a share as one right and one wrong (Agresti and Min
    2005). Where no image differs there is none: on these images the two are the same.

    Args:
        first: Of some images.
        second: Of the same ones in the same order.
        seed: Of the exchanges, from the stream ``exchange``.
        exchanges: How many.

    Source: Good, "Permutation, parametric and bootstrap tests of hypotheses" (2005), section 3.7; Phipson, Smyth,
    "Permutation p-values should never be zero" (2010); Efron, Tibshirani, "An introduction to the bootstrap" (1993),
    chapter 11.

    Raises:
        DataError: No image, another number of them, another truth, or statistics that cannot be joined.
    """
    both = joined(first, second)
    count = len(first)
    places = np.arange(count)
    value = first.of(places) - second.of(places)
    moved = influences(first) - influences(second) if count > 1 else np.full(count, math.nan)
    share = _is_share(first) and _is_share(second)
    error = _standard_error(moved, 1.0 if share else 0.0)
    facts: dict[str, Any] = {
        "error": error,
        "degrees": max(count - 1.0, 1.0),
        "differing": _differing(both),
        "images": count,
    }
    if share:
        assert isinstance(first, MeanStatistic)
        assert isinstance(second, MeanStatistic)
        won, lost = int((first.figures > second.figures).sum()), int((first.figures < second.figures).sum())
        above, below = _at_least(won, won + lost), _at_least(lost, won + lost)
        two_sided = min(1.0, 2 * min(above, below))
        return MetricDifference(value, p_value=two_sided, p_above=above, test=SIGN_TEST, **facts)
    drawn = _exchanged(both, stream(seed, "exchange").integers(0, 2, (exchanges, count)))
    slack = 1e-12 * max(1.0, abs(value))
    undefined = ~np.isfinite(drawn)  # counted against a difference
    above = _share_of(undefined | (drawn >= value - slack)) if math.isfinite(value) else math.nan
    either = _share_of(undefined | (np.abs(drawn) >= abs(value) - slack)) if math.isfinite(value) else math.nan
    return MetricDifference(value, p_value=either, p_above=above, test=PERMUTATION_TEST, **facts)


def alike(statistics: Sequence[Statistic], seed: int = 0, exchanges: int = EXCHANGES) -> float:
    """The p value of several runs being alike on every image: of the largest difference between any two figures.

    What each image contributed is dealt out anew among the runs, as ``compared`` exchanges it between two. One test of
    all, so that no correction for the number of pairs is needed.

    Args:
        statistics: Two at least, of the same images in the same order.
        seed: Of the exchanges, from the stream ``exchange``.
        exchanges: How many.

    Returns:
        From 1 / (1 + exchanges) to 1; NaN where a figure is not defined.

    Raises:
        DataError: As ``joined``.
    """
    both, runs, count = joined(*statistics), len(statistics), len(statistics[0])
    places, order = runs * np.arange(count), np.tile(np.arange(runs), (count, 1))
    generator = stream(seed, "exchange")

    def spread(dealt: NDArray[np.int64]) -> float:
        figures = [both.of(places + column) for column in dealt.T]
        return max(figures) - min(figures) if np.isfinite(figures).all() else math.nan

    value = spread(order)
    if not math.isfinite(value):
        return math.nan
    drawn = np.array([spread(generator.permuted(order, axis=1)) for _ in range(exchanges)])
    return _share_of(~np.isfinite(drawn) | (drawn >= value - 1e-12 * max(1.0, value)))


def joined(*statistics: Statistic) -> Statistic:
    """All of K as one statistic: image i of the k-th at place K i + k.

    Args:
        statistics: Of the same images, of one kind.

    Raises:
        DataError: Other numbers of images, another truth, other kinds, or a plugin's.
    """
    first = statistics[0]
    counts = [len(item) for item in statistics]
    if not len(first) or len(set(counts)) > 1:
        raise DataError("figures of other images cannot be compared", received=counts)
    if len({type(item) for item in statistics}) > 1 or type(first) not in KINDS.values():
        kinds = sorted({type(item).__name__ for item in statistics})
        raise DataError("what metrics keep of images cannot be joined", received=kinds)
    if not all(_alike(_truth(first), _truth(item)) for item in statistics):
        raise DataError("the truth of the images differs: they are other images, or in another order")
    if isinstance(first, AveragePrecisionStatistic):
        classes = zip(*(item.matches for item in statistics), strict=True)  # type: ignore[attr-defined]
        return AveragePrecisionStatistic(tuple(_in_turn(found) for found in classes), sum(counts))
    values = {}
    for item in fields(first):  # type: ignore[arg-type]
        parts = [getattr(statistic, item.name) for statistic in statistics]
        shared = item.name in ("mean", "covariance", "figure")
        values[item.name] = parts[0] if shared else _interleaved([np.asarray(part) for part in parts])
    return type(first)(**values)


def _interleaved(parts: Sequence[Array]) -> Array:
    return np.stack(parts, 1).reshape(-1, *parts[0].shape[1:])


def _in_turn(found: Sequence[ClassMatches]) -> ClassMatches:
    """A class' detections of all, image by image, the first's before the second's."""
    images = np.concatenate([len(found) * item.images + k for k, item in enumerate(found)])
    order = np.argsort(images, kind="stable")
    return ClassMatches(
        np.concatenate([item.scores for item in found])[order],
        images[order],
        np.concatenate([item.right for item in found], 1)[:, order],
        np.concatenate([item.ignored for item in found], 1)[:, order],
        _interleaved([item.objects for item in found]),
    )


def _truth(statistic: Statistic) -> list[Any]:
    """What a statistic keeps of the truth, which two runs on the same images have in common."""
    match statistic:
        case AUROCStatistic():
            return [np.asarray(statistic.anomalous, bool)]
        case PCKStatistic():
            return [statistic.labelled]
        case SegmentationStatistic():
            return [statistic.confusion.sum(2), np.array(statistic.figure)]
        case AveragePrecisionStatistic():
            return [np.asarray(item.objects) for item in statistic.matches]
        case FrechetStatistic():
            return [statistic.mean, statistic.covariance]
        case _:
            return []


def _alike(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


def _exchanged(both: Statistic, turns: NDArray[np.int64]) -> Array:
    """(B,) differences where images are exchanged, turns (B, N) of 0 and 1."""
    places = 2 * np.arange(turns.shape[1])
    return np.array([both.of(places + turn) - both.of(places + 1 - turn) for turn in turns])


def _differing(both: Statistic) -> int:
    """The number of images whose exchange, alone, moves the figure."""
    whole = 2 * np.arange(len(both) // 2)
    figure, found = both.of(whole), 0
    for place in range(len(whole)):
        exchanged = whole.copy()
        exchanged[place] += 1
        found += not _same(figure, both.of(exchanged))
    return found


def _same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _standard_error(moved: Array, least: float) -> float:
    """The jackknife's of the differences of influences, with one more image as different as the most different one."""
    count = len(moved)
    if count < 2 or not np.isfinite(moved).all():
        return math.nan
    if not moved.any():
        return 0.0
    most = max(least, float(np.abs(moved).max()))
    return float(np.sqrt(((moved**2).sum() + most**2) / (count * (count - 1))))


def _is_share(statistic: Statistic) -> bool:
    return isinstance(statistic, MeanStatistic) and statistic.is_share and not np.isnan(statistic.figures).any()


def _at_least(count: int, total: int) -> float:
    """The chance of at least so many heads of fair coins."""
    return float(bdtrc(count - 1, total, 0.5)) if count else 1.0


def _share_of(as_large: NDArray[np.bool_]) -> float:
    """With the images as they are as one more exchange."""
    return float((1 + as_large.sum()) / (1 + len(as_large)))
