"""The latency ratio of two programs that share no round, by way of a third that shares rounds with each."""

from __future__ import annotations

from collections.abc import Iterable

from cnnbench.measurement.levels import Spread, ratio_spread
from cnnbench.measurement.statistics import RoundSamples


def group_ratio(head: RoundSamples, base: RoundSamples, others: Iterable[RoundSamples]) -> Spread | None:
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

    Returns:
        None where the two share no round and no anchor.

    Raises:
        DataError: A sample is not a positive number.
    """
    if head.keys() & base.keys():
        return ratio_spread(head, base)
    linked = [(min(len(head.keys() & other.keys()), len(other.keys() & base.keys())), other) for other in others]
    shared, anchor = max(linked, key=lambda item: item[0], default=(0, {}))
    if shared == 0:
        return None
    return ratio_spread(head, anchor).plus(ratio_spread(anchor, base))
