"""Where a latency or a ratio lies on a logarithmic scale, launch by launch, and how far launches lie apart."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, variance
from typing import Literal

from cnnbench.errors import DataError
from cnnbench.measurement.moderation import Variance, joint_degrees, moderated
from cnnbench.measurement.statistics import Estimate, Ratio, RoundSamples, checked
from cnnbench.measurement.student import degrees_of_sum, student_quantile

Covers = Literal["runs", "launches", "rounds", "calls", "nothing"]
RoundValues = Mapping[tuple[int, int], float]
"""(launch, round) -> one number of that round, on a logarithmic scale."""

COVERS: tuple[Covers, ...] = ("runs", "launches", "rounds", "calls", "nothing")
MEDIAN_VARIANCE = math.pi / 2  # of the median of many normal values, relative to that of their mean
FEWER = (1.14, 0.4)  # what is added to an even and an odd count for few values


@dataclass(frozen=True)
class Spread:
    """An estimate on a logarithmic scale with what its interval rests on.

    Args:
        value: The logarithm of a latency or a ratio.
        covers: What the interval covers: how this run and earlier ones differ (``between_runs``); how launches differ;
            how the rounds of the only launch do; how the calls of the only round do; or nothing, where there is a
            single call.
        unit: The variance of one launch's level (or round's, or call's) around the others.
        share: So much of it is the variance of the estimate (``share_of_median``).
        levels: The level of each launch, or of each round or call where there is one launch or round; {} where nothing
            disturbs the estimates of a run together.
        rounds: How many rounds the estimate rests on.
    """

    value: float
    covers: Covers
    unit: Variance
    share: float
    levels: Mapping[int, float] = field(default_factory=dict)
    rounds: int = 1

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.unit.value * self.share)

    def estimate(self, confidence: float = 0.95) -> Estimate:
        """exp(value -+ t error), with Student's t at the degrees of the variance."""
        if self.covers == "nothing":
            value = math.exp(self.value)
            return Estimate(value, value, value, 0.0)
        reach = min(student_quantile((1 + confidence) / 2, self.unit.degrees) * self.error, 700.0)
        low, value, high = (math.exp(self.value + step) for step in (-reach, 0.0, reach))
        return Estimate(value, low, high, confidence)

    def ratio(self, confidence: float = 0.95) -> Ratio:
        """The same as a ratio, which can be compared with limits."""
        found = self.estimate(confidence)
        known = self.covers != "nothing"
        error, degrees = (self.error, self.unit.degrees) if known else (0.0, math.inf)
        return Ratio(found.value, found.low, found.high, found.confidence, error, degrees, self.rounds)

    def plus(self, other: Spread, sign: int = 1) -> Spread:
        """The sum of two independent estimates, or with ``sign`` -1 their difference: variances add."""
        covers = max(self.covers, other.covers, key=COVERS.index)
        share = max(self.share, other.share)
        parts = [(item.error**2, item.unit.degrees) for item in (self, other)]
        unit = Variance(sum(part for part, _ in parts) / share, degrees_of_sum(*parts))
        common = self.levels.keys() & other.levels.keys()
        levels = {launch: self.levels[launch] + sign * other.levels[launch] for launch in sorted(common)}
        return Spread(self.value + sign * other.value, covers, unit, share, levels, min(self.rounds, other.rounds))


def by_launch(rounds: RoundValues) -> dict[int, float]:
    """The median of each launch's rounds."""
    launches: dict[int, list[float]] = {}
    for (launch, _), value in rounds.items():
        launches.setdefault(launch, []).append(value)
    return {launch: median(values) for launch, values in launches.items()}


def location(rounds: RoundValues) -> float:
    """The median over launches of the medians of their rounds."""
    return median(by_launch(rounds).values())


def latency_spread(samples: RoundSamples, q: float = 0.5) -> Spread:
    """The ``q`` quantile of the latency.

    Of each launch: the median over its rounds of their medians, or the quantile of all its calls. Then the median of
    the launches' logarithms. The launches are the independent units: what disturbs one process, or one minute, disturbs
    all of its calls. Their variance contains that of the rounds within them. The median, because disturbances go one
    way: on a shared machine one launch in eight may be 20 to 50 % slower. A mean would depend on whether a run has one.

    * With one launch its rounds are the units. The interval then says nothing of how processes differ.
    * With one round its calls are the units. One call has no interval.

    Args:
        samples: Positive seconds by (launch, round). Sizes may differ.
        q: 0.5 for the median, 0.9, 0.99.

    Raises:
        DataError: There are no samples, or one is not a positive number.
    """
    import numpy as np

    known = checked(samples)
    quantiles = {key: math.log(np.quantile(values, q)) for key, values in known.items()}
    launches = by_launch(quantiles)
    if q != 0.5:
        launches = {
            launch: math.log(np.quantile(np.concatenate([known[key] for key in known if key[0] == launch]), q))
            for launch in launches
        }
    if len(known) == 1 and q == 0.5:
        return _of_calls([math.log(value) for value in next(iter(known.values()))])
    return _of_rounds(launches, quantiles)


def ratio_spread(head: RoundSamples, base: RoundSamples) -> Spread:
    """Head / base from rounds that both ran in.

    Of each round the difference of the logarithms of the medians, in which whatever slows the whole round cancels; then
    as ``latency_spread``. Where the calls of the two alternate, ``turn_ratio.ratio_in_turns`` is more precise.

    Raises:
        DataError: No round has both, or a sample is not a positive number.
    """
    import numpy as np

    ours, theirs = checked(head), checked(base)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise DataError("the two cells share no round", remedy="compare them unpaired")
    differences = {key: math.log(float(np.median(ours[key])) / float(np.median(theirs[key]))) for key in common}
    return _of_rounds(by_launch(differences), differences)


def ratio_interval(head: RoundSamples, base: RoundSamples, *, confidence: float = 0.95) -> Ratio:
    """``ratio_spread`` of two cells by themselves.

    Args:
        head: Positive seconds by (launch, round).
        base: As ``head``.
        confidence: Of the interval.
    """
    return ratio_spread(head, base).ratio(confidence)


def steadied(spreads: Sequence[Spread], groups: Sequence[Hashable]) -> list[Spread]:
    """The estimates of a run with their variances moderated over all of them (``moderation``).

    Launches, rounds and calls vary in different ways, so each kind has a prior of its own.

    Args:
        spreads: Of latencies, or of ratios; not of both.
        groups: The comparison group of each, whose members were timed in the same rounds.

    Returns:
        As many, in the same order, with the same values.
    """
    found = list(spreads)
    for kind in COVERS[:-1]:
        places = [i for i, item in enumerate(spreads) if item.covers == kind]
        alike = [spreads[i] for i in places]
        most = joint_degrees([item.levels for item in alike], [groups[i] for i in places])
        for i, unit in zip(places, moderated([item.unit for item in alike], most or None), strict=True):
            found[i] = replace(spreads[i], unit=unit)
    return found


def _of_rounds(launches: Mapping[int, float], rounds: RoundValues) -> Spread:
    """The estimate from the levels of launches; of a single launch with the variance of its rounds."""
    value = median(launches.values())
    if len(launches) > 1:
        return _of_units(value, "launches", launches, len(rounds))
    return _of_units(value, "rounds", {number: level for (_, number), level in rounds.items()}, len(rounds))


def _of_calls(calls: Sequence[float]) -> Spread:
    return _of_units(median(calls), "calls", dict(enumerate(calls)), 1)


def _of_units(value: float, covers: Covers, units: Mapping[int, float], rounds: int) -> Spread:
    if len(units) < 2:
        return Spread(value, "nothing", Variance(0.0, math.inf), 1.0, rounds=rounds)
    unit = Variance(variance(units.values()), len(units) - 1.0)
    return Spread(value, covers, unit, share_of_median(len(units)), units, rounds)


def share_of_median(count: int) -> float:
    """The variance of the median of ``count`` normal values, relative to that of one; at most 3 % above the exact one.

    1, 0.50, 0.46, 0.31, 0.29 of one to five values; pi / (2 n) of many.

    Args:
        count: 1 or more. Of an even number the median is the mean of the two in the middle.
    """
    return 1.0 if count == 1 else MEDIAN_VARIANCE / (count + FEWER[count % 2])
