"""Moderated variances: the variance of a cell with few launches borrows degrees of freedom from the other cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.gates.variation import Variance

LEAST_CELLS = 4
UNUSUAL = 0.05


@dataclass(frozen=True)
class Common:
    """The prior of all cells of a run: a variance s0^2, and the degrees of freedom d0 that it adds to each cell's."""

    value: float
    degrees: float


def moderated(observed: Sequence[Variance]) -> list[Variance]:
    """The moderated variance of each cell.

        s~^2 = max(s^2, (d0 s0^2 + d s^2) / (d0 + d)),    degrees d0 + d

    Four launches give a variance s^2 with d = 3 degrees of freedom. By chance it is sometimes far too small, and
    Student's t makes up for that with intervals several times as wide. But all cells ran on one machine, so their
    variances say how large one can be: s0^2 and d0 come from all of them (``common_variance``). Where the true
    variances of the cells differ, d0 is small, and s~^2 is nearly s^2.

    Two cases are left as they are: fewer than ``LEAST_CELLS`` cells, and a cell that is so much noisier than the
    others that chance would show it with probability ``UNUSUAL`` or less.

    Args:
        observed: One variance a cell, with its degrees of freedom.

    Returns:
        As many variances, in the same order.

    Source: Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments" (2004), section 6.2. The maximum and the exception for noisy cells are not in it; they are on the
    safe side, and cost some power.
    """
    from scipy.special import fdtrc

    common = common_variance(observed)
    if common is None:
        return list(observed)
    steadied = []
    for item in observed:
        if item.value > 0 and fdtrc(item.degrees, common.degrees, item.value / common.value) < UNUSUAL:
            steadied.append(item)
            continue
        degrees = common.degrees + item.degrees
        shared = (common.degrees * common.value + item.degrees * item.value) / degrees
        steadied.append(Variance(max(item.value, shared), degrees))
    return steadied


def common_variance(observed: Sequence[Variance]) -> Common | None:
    """The prior s0^2 and d0, from the mean and the variance of log s^2 over the cells.

    With e = log s^2 - psi(d / 2) + log(d / 2) of each cell,

        psi'(d0 / 2) = var(e) - mean psi'(d / 2),    log s0^2 = mean e + psi(d0 / 2) - log(d0 / 2)

    where psi is the digamma function. d0 is at most the sum of all d: s0^2 rests on no more than that.

    Returns:
        None for fewer than ``LEAST_CELLS`` cells with a positive variance.
    """
    from scipy.special import polygamma, psi

    known = [item for item in observed if item.value > 0 and 0 < item.degrees < math.inf]
    if len(known) < LEAST_CELLS:
        return None
    logs = [math.log(item.value) - float(psi(item.degrees / 2)) + math.log(item.degrees / 2) for item in known]
    mean = sum(logs) / len(logs)
    scatter = sum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    excess = scatter - sum(float(polygamma(1, item.degrees / 2)) for item in known) / len(known)
    most = sum(item.degrees for item in known)
    degrees = min(most, 2 * _inverse_trigamma(excess)) if excess > 0 else most
    return Common(math.exp(mean + float(psi(degrees / 2)) - math.log(degrees / 2)), degrees)


def _inverse_trigamma(value: float) -> float:
    """x with psi'(x) = value > 0, by Newton's method on 1 / psi'(x), which is convex and nearly linear."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        slope = float(polygamma(1, x))
        step = slope * (1 - slope / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-9 * x:
            break
    return x
