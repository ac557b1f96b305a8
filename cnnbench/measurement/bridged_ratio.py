"""The latency ratio of two programs that share no round, by way of a third that shares rounds with each."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cnnbench.measurement.bootstrap import degrees_of_sum, student_quantile
from cnnbench.measurement.statistics import Ratio, RoundSamples, ratio_interval


def group_ratio(
    head: RoundSamples, base: RoundSamples, others: Iterable[RoundSamples], *, confidence: float = 0.95
) -> Ratio | None:
    """Head / base within a comparison group.

    Where the two share rounds, the ratio comes from these. Otherwise the group was too large for memory and was timed
    in parts, and one program, the anchor, ran in every part:

        head / base = (head / anchor) * (anchor / base)

    Each factor comes from shared rounds. The variances of their logarithms add; the degrees of freedom are
    Satterthwaite's.

    Args:
        head: Positive seconds by (launch, round).
        base: As ``head``.
        others: The group's other programs. The one that shares the most rounds with both is the anchor.
        confidence: Of the interval.

    Returns:
        None where the two share no round and no anchor.

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
    """The product of two independent ratios, with Student's t interval on the log scale.

    Args:
        first: A factor.
        second: The other factor.
        confidence: Of the product's interval. Where a factor has no interval, the product has none.
    """
    value = first.value * second.value
    parts = [(item.log_error**2, item.degrees) for item in (first, second)]
    error, degrees = math.hypot(first.log_error, second.log_error), degrees_of_sum(*parts)
    known = confidence if first.confidence and second.confidence else 0.0
    reach = student_quantile((1 + confidence) / 2, degrees) * error if known else 0.0
    low, high = value * math.exp(-reach), value * math.exp(reach)
    return Ratio(value, low, high, known, error, degrees, min(first.pairs, second.pairs))
