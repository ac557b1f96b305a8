"""Intervals of quantiles and of ratios from repeated launches and rounds, and what a comparison can detect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cnnbench.errors import DataError
from cnnbench.measurement.bootstrap import (
    Spread,
    quantile_of,
    quantile_spread,
    round_spread,
    student_quantile,
    student_tail,
    wider,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]

RoundSamples = Mapping[tuple[int, int], Sequence[float]]
"""(launch, round) -> the timed calls of that round, in seconds."""


class TimedSample(Protocol):
    """A line of ``samples.jsonl``."""

    @property
    def launch(self) -> int: ...
    @property
    def round(self) -> int: ...
    @property
    def latency_s(self) -> float: ...


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval.

    A ``confidence`` of 0 says that there was one unit only, from which no interval can be had.
    """

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Ratio(Estimate):
    """An estimated ratio head / base.

    Args:
        log_error: Standard error of log(ratio). degrees: degrees of freedom behind it.
        pairs: Rounds (or the smaller number of them) that it rests on.
    """

    log_error: float
    degrees: float
    pairs: int

    def p_above(self, limit: float) -> float:
        """One-sided p value of "the ratio is at most ``limit``": small where the ratio is surely above it."""
        return self._p(math.log(self.value) - math.log(limit))

    def p_below(self, limit: float) -> float:
        """One-sided p value of "the ratio is at least ``limit``"."""
        return self._p(math.log(limit) - math.log(self.value))

    def _p(self, distance: float) -> float:
        if self.confidence == 0:
            return 1.0
        if self.log_error == 0:
            return 0.0 if distance > 0 else 1.0
        return student_tail(distance / self.log_error, self.degrees)

    def smallest_detectable_change(self, *, power: float = 0.8, alpha: float = 0.05) -> float:
        """The relative change that a comparison with this spread finds with probability ``power``.

        exp((t_{1 - alpha/2} + t_power) * log_error) - 1; infinite where there is no interval.
        """
        if self.confidence == 0:
            return math.inf
        reach = student_quantile(1 - alpha / 2, self.degrees) + student_quantile(power, self.degrees)
        return math.expm1(min(reach * self.log_error, 700.0))


@dataclass(frozen=True)
class NoiseFloor:
    """What equal programs look like when they are compared (A/A).

    Args:
        floor: The relative difference that ``confidence`` of A/A comparisons stay within.
        smallest_detectable_change: Median over the comparisons, at 80 % power.
        false_alarms: Comparisons whose interval excludes 1 by more than the threshold.
        comparisons: How many there were.
        false_alarm_rate: ``false_alarms / comparisons`` with its Wilson interval.
    """

    floor: float
    smallest_detectable_change: float
    false_alarms: int
    comparisons: int
    false_alarm_rate: Estimate


def grouped(calls: Iterable[TimedSample]) -> dict[tuple[int, int], list[float]]:
    """Timed calls by (launch, round), in their order."""
    rounds: dict[tuple[int, int], list[float]] = {}
    for call in calls:
        rounds.setdefault((call.launch, call.round), []).append(call.latency_s)
    return rounds


def quantile_interval(
    samples: RoundSamples, q: float = 0.5, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """The ``q`` quantile of all calls with its interval.

    Launches are drawn with replacement, one fewer than there are (Rao and Wu 1988: without that the variance of
    few units comes out too small), then rounds within them; the calls of a round stay together, because they share
    what disturbed it. The percentile interval is widened by t / z with Satterthwaite's degrees of freedom, so that
    two launches that differ are not taken for certainty. One launch: rounds alone. One round: calls alone.

    Args:
        samples: Positive seconds by (launch, round). Sizes may differ.
        q: 0.5 for the median, 0.9, 0.99.
        confidence: Of the interval.
        resamples: Replicates of the bootstrap.
        seed: Of the bootstrap, which is deterministic.

    Raises:
        DataError: There are no samples, or one is not a positive number.
    """
    spread = quantile_spread(checked(samples), q, resamples, seed)
    return _estimate(spread, confidence)


def ratio_interval(
    head: RoundSamples, base: RoundSamples, *, q: float = 0.5, confidence: float = 0.95, seed: int = 0
) -> Ratio:
    """Head / base from paired rounds: the median of log(q of the head's round / q of the base's round).

    Rounds pair by (launch, round), so drift that hits a whole round cancels. Resampled and widened as
    ``quantile_interval``. Where the calls of both alternate, ``turn_ratio.ratio_in_turns`` knows more.

    Raises:
        DataError: No round has both, or a sample is not positive.
    """
    ours, theirs = checked(head), checked(base)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise DataError("the two cells share no round", remedy="compare them unpaired")
    differences = {key: math.log(quantile_of(ours[key], q) / quantile_of(theirs[key], q)) for key in common}
    return _ratio(round_spread(differences, 2000, seed), confidence, len(common))


def unpaired_ratio_interval(
    head: RoundSamples, base: RoundSamples, *, q: float = 0.5, confidence: float = 0.95, seed: int = 0
) -> Ratio:
    """Head / base of two separate runs: each is resampled by itself. Wider than a paired one, and open to drift."""
    ours = quantile_spread(checked(head), q, 2000, seed)
    theirs = quantile_spread(checked(base), q, 2000, seed + 1)
    return _ratio(ours.less(theirs), confidence, min(len(head), len(base)))


def benjamini_hochberg(p_values: Sequence[float], rate: float = 0.05) -> list[bool]:
    """Which hypotheses are rejected when the expected share of false ones among them is held at ``rate``.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate" (1995).
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda i: p_values[i])
    last = max((rank for rank, i in enumerate(order, 1) if p_values[i] <= rate * rank / count), default=0)
    rejected = set(order[:last])
    return [i in rejected for i in range(count)]


def noise_floor(
    pairs: Sequence[tuple[RoundSamples, RoundSamples]], *, threshold: float = 0.0, confidence: float = 0.95
) -> NoiseFloor:
    """What A/A pairs (the same cell measured twice) say of the noise.

    Args:
        pairs: Two measurements each of something that did not change.
        threshold: The gate's relative threshold; an A/A ratio surely beyond it is a false alarm.
        confidence: Of the intervals and of the floor.

    The floor is the ``confidence`` quantile of |ratio - 1|; with few pairs, their largest.
    """
    if not pairs:
        raise DataError("there are no A/A pairs", remedy="give the suite an A/A cell")
    ratios = [
        ratio_interval(a, b, confidence=confidence) if a.keys() & b.keys() else unpaired_ratio_interval(a, b)
        for a, b in pairs
    ]
    sizes = sorted(math.expm1(abs(math.log(ratio.value))) for ratio in ratios)
    floor = sizes[min(len(sizes) - 1, math.ceil(confidence * len(sizes)) - 1)]
    detectable = sorted(ratio.smallest_detectable_change() for ratio in ratios)[len(ratios) // 2]
    alarms = sum(ratio.low > 1 + threshold or ratio.high < 1 / (1 + threshold) for ratio in ratios if ratio.confidence)
    return NoiseFloor(floor, detectable, alarms, len(ratios), proportion_interval(alarms, len(ratios), confidence))


def proportion_interval(hits: int, total: int, confidence: float = 0.95) -> Estimate:
    """Hits / total with Wilson's score interval (Wilson 1927)."""
    if total == 0:
        return Estimate(math.nan, 0.0, 1.0, confidence)
    z = student_quantile((1 + confidence) / 2, math.inf)
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Estimate(share, max(0.0, centre - reach), min(1.0, centre + reach), confidence)


def checked(samples: RoundSamples) -> dict[tuple[int, int], FloatArray]:
    """The samples as arrays, without empty rounds. Raises DataError where there are none, or one is not positive."""
    import numpy as np

    arrays = {key: np.asarray(values, float) for key, values in samples.items() if len(values)}
    if not arrays:
        raise DataError("there are no samples")
    for key, values in arrays.items():
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise DataError(
                "a sample is not a positive number",
                where=f"launch {key[0]}, round {key[1]}",
                received=float(values[~(np.isfinite(values) & (values > 0))][0]),
            )
    return arrays


def _estimate(spread: Spread, confidence: float) -> Estimate:
    low, high = wider(spread, confidence)
    kept = confidence if spread.draws is not None else 0.0
    return Estimate(math.exp(spread.value), math.exp(low), math.exp(high), kept)


def _ratio(spread: Spread, confidence: float, pairs: int) -> Ratio:
    plain = _estimate(spread, confidence)
    return Ratio(plain.value, plain.low, plain.high, plain.confidence, spread.error, spread.degrees, pairs)
