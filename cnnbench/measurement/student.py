"""Student's t and the degrees of freedom behind a variance: of launches and rounds, and of sums."""

from __future__ import annotations

import math
from collections.abc import Mapping


def degrees_of_freedom(rounds: Mapping[tuple[int, int], float]) -> float:
    """Satterthwaite's degrees of freedom of the mean over launches and rounds of one number a round.

    With the between-launch component a = max(0, (MSB - MSW) / r) / n and the within-launch one b = MSW / (n r):
    (a + b)^2 / (a^2 / (n - 1) + b^2 / (n (r - 1))). Launches that do not differ leave the rounds' degrees.
    """
    n, total = len({launch for launch, _ in rounds}), len(rounds)
    if n == 1:
        return max(1.0, total - 1.0)
    if total == n:
        return n - 1.0
    between, within = mean_squares(rounds)
    a = max(0.0, between - within) / total
    b = within / total
    if a + b == 0:
        return float(total - 1)
    return (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (total - n))


def degrees_of_sum(*parts: tuple[float, float]) -> float:
    """Welch's and Satterthwaite's degrees of freedom of a sum of (variance, degrees): (sum v)^2 / sum (v^2 / d)."""
    total = sum(variance for variance, _ in parts)
    spent = sum(variance**2 / degrees for variance, degrees in parts)
    return total**2 / spent if spent else math.inf


def mean_squares(rounds: Mapping[tuple[int, int], float]) -> tuple[float, float]:
    """(between launches, between the rounds of a launch) of one number a round, as an analysis of variance has them.

    Both are estimates of one variance where launches do not differ. Where one of them has nothing to rest on (one
    launch, one round each) it is 0.
    """
    import numpy as np

    launches = sorted({launch for launch, _ in rounds})
    groups = [np.array([value for key, value in rounds.items() if key[0] == launch]) for launch in launches]
    n, total = len(groups), len(rounds)
    inside = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    within = inside / (total - n) if total > n else 0.0
    between = total / n * float(np.var([group.mean() for group in groups], ddof=1)) if n > 1 else 0.0
    return between, within


def student_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t; the normal's at infinite degrees."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if math.isinf(degrees) else stdtrit(degrees, probability))


def student_tail(t: float, degrees: float) -> float:
    """P(T > t)."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-t) if math.isinf(degrees) else stdtr(degrees, -t))
