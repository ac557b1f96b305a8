"""How far a machine's runs of the same work lie apart: what the launches of one run cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import variance

from cnnbench.measurement.levels import Spread
from cnnbench.measurement.moderation import Variance, joint_degrees, moderated

LEAST_RUNS = 3  # earlier ones: fewer hardly say how much runs vary


def widened(spreads: Sequence[Spread], earlier: Sequence[Sequence[float]]) -> list[Spread]:
    """The estimates of a run, with the variance between runs where that makes their intervals wider.

    The launches of a run of one minute share that minute. If a machine is 5 % slower in some minutes than in others, no
    run shows it, and its interval of +-2 % says too much. But runs that were made before show it. With this run's value
    and those of n - 1 earlier runs, on logarithms,

        s^2 = variance of the n values,    degrees n - 1

    is the variance of the value of one run, noise within it and all. It is moderated over the cells, as variances
    between launches are.

    Args:
        spreads: Of a run's latencies.
        earlier: For each, the logarithms of what earlier runs found. With fewer than ``LEAST_RUNS`` it stays as it is.

    Returns:
        As many, in the same order, with the same values; those that became wider cover ``runs``.
    """
    found = list(spreads)
    places = [
        i
        for i, (item, before) in enumerate(zip(spreads, earlier, strict=True))
        if len(before) >= LEAST_RUNS and item.covers == "launches"
    ]
    runs = [dict(enumerate([*earlier[i], spreads[i].value])) for i in places]
    own = [Variance(variance(values.values()), len(values) - 1.0) for values in runs]
    most = joint_degrees(runs, ["runs"] * len(runs))  # a slow minute makes all cells of a run slow
    for i, unit in zip(places, moderated(own, most or None), strict=True):
        wider = replace(spreads[i], covers="runs", unit=unit, share=1.0, levels={})
        if wider.estimate().high > spreads[i].estimate().high:
            found[i] = wider
    return found
