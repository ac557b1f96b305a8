"""The noise floor: what comparisons of a program with itself (A/A) show of chance alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.errors import DataError
from cnnbench.measurement.levels import latency_spread, ratio_spread, steadied
from cnnbench.measurement.statistics import Estimate, RoundSamples
from cnnbench.measurement.student import student_quantile


@dataclass(frozen=True)
class NoiseFloor:
    """What comparisons of a program with itself (A/A) show: the differences that chance alone makes.

    Args:
        floor: The relative difference within which a share ``confidence`` of the A/A comparisons stays.
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


def noise_floor(
    pairs: Sequence[tuple[RoundSamples, RoundSamples]], *, threshold: float = 0.0, confidence: float = 0.95
) -> NoiseFloor:
    """The noise floor from A/A pairs: each is one program, measured twice.

    Args:
        pairs: The two measurements of each program, in seconds by (launch, round).
        threshold: The gate's relative threshold. An interval that lies wholly beyond it is a false alarm.
        confidence: Of the intervals. The floor is this quantile of |ratio - 1|; with few pairs, their largest.

    Raises:
        DataError: There are no pairs, or a sample is not a positive number.
    """
    if not pairs:
        raise DataError("there are no A/A pairs", remedy="give the suite an A/A cell")
    spreads = [
        ratio_spread(a, b) if a.keys() & b.keys() else latency_spread(a).plus(latency_spread(b), -1) for a, b in pairs
    ]
    ratios = [spread.ratio(confidence) for spread in steadied(spreads, range(len(spreads)))]
    sizes = sorted(math.expm1(abs(math.log(ratio.value))) for ratio in ratios)
    floor = sizes[min(len(sizes) - 1, math.ceil(confidence * len(sizes)) - 1)]
    detectable = sorted(ratio.smallest_detectable_change() for ratio in ratios)[len(ratios) // 2]
    alarms = sum(ratio.low > 1 + threshold or ratio.high < 1 / (1 + threshold) for ratio in ratios if ratio.confidence)
    return NoiseFloor(floor, detectable, alarms, len(ratios), proportion_interval(alarms, len(ratios), confidence))


def proportion_interval(hits: int, total: int, confidence: float = 0.95) -> Estimate:
    """Hits / total with Wilson's score interval (Wilson 1927).

    Args:
        hits: How often something happened.
        total: How often it might have; 0 gives NaN with the interval [0, 1].
        confidence: Of the interval.
    """
    if total == 0:
        return Estimate(math.nan, 0.0, 1.0, confidence)
    z = student_quantile((1 + confidence) / 2, math.inf)
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Estimate(share, max(0.0, centre - reach), min(1.0, centre + reach), confidence)
