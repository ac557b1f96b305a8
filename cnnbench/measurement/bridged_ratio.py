"""The ratio of two programs that share no round, through a third that shares rounds with each."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cnnbench.measurement.bootstrap import degrees_of_sum, student_quantile
from cnnbench.measurement.statistics import Ratio, RoundSamples, ratio_interval


def group_ratio(
    head: RoundSamples, base: RoundSamples, others: Iterable[RoundSamples], *, confidence: float = 0.95
) -> Ratio | None:
    """Head / base within a comparison group; None where nothing links them.

    From the rounds that both have. A group that is too large for memory is timed in parts, of which each holds the
    same anchor: two programs of different parts are compared through it,

        head / base = (head / anchor) * (anchor / base),

    each factor from paired rounds. The variances of their logarithms add, with Satterthwaite's degrees of freedom.

    Args:
        head: Positive seconds by (launch, round).
        base: As ``head``.
        others: The group's other programs; the one that shares the most rounds with both is the anchor.
        confidence: Of the interval.

    Raises:
        DataError: A sample is not a positive number.
    """
    if head.keys() & base.keys():
        return ratio_interval(head, base, confidence=confidence)
    linked = [(min(len(head.keys() & other.keys()), len(other.keys() & base.keys())), other) for other in others]
    shared, anchor = max(linked, key=lambda item: item[0], default=(0, {}))
    if shared == 0:
        return None
    return product(
        ratio_interval(head, anchor, confidence=confidence),
        ratio_interval(anchor, base, confidence=confidence),
        confidence=confidence,
    )


def product(first: Ratio, second: Ratio, *, confidence: float = 0.95) -> Ratio:
    """The product of two independent ratios, with Student's t interval on the log scale."""
    value = first.value * second.value
    parts = [(item.log_error**2, item.degrees) for item in (first, second)]
    error, degrees = math.hypot(first.log_error, second.log_error), degrees_of_sum(*parts)
    known = confidence if first.confidence and second.confidence else 0.0
    reach = student_quantile((1 + confidence) / 2, degrees) * error if known else 0.0
    low, high = value * math.exp(-reach), value * math.exp(reach)
    return Ratio(value, low, high, known, error, degrees, min(first.pairs, second.pairs))
