"""Variances that few launches show of each cell, steadied by what the other cells of the run show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.gates.variation import Variance

LEAST_CELLS = 4
UNUSUAL = 0.05


@dataclass(frozen=True)
class Common:
    """What the cells of a run have in common: a variance, and the degrees of freedom that it is worth to each."""

    value: float
    degrees: float


def moderated(observed: Sequence[Variance]) -> list[Variance]:
    """Each variance, at least what it is together with the common one, with the degrees of freedom of both.

        s~^2 = max(s^2, (d0 s0^2 + d s^2) / (d0 + d)),    degrees d0 + d

    From four launches alone a cell's own variance comes out far too small by chance now and then, and Student's t
    guards against that with intervals several times as wide. Cells of one run on one machine tell each other how
    large it can be. Where the cells differ in truth, d0 comes out small, and each keeps to its own. A cell that is
    noisier than the rest, so that chance would show it in ``UNUSUAL`` of cases or fewer, keeps its own degrees of
    freedom as well. Fewer than ``LEAST_CELLS`` cells are left alone.

    Source: Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments" (2004), section 6.2; the maximum and the exception are ours, and cost some power.
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
    """s0^2 and d0 from the mean and the variance of log s^2; None where there is too little to tell.

    With e = log s^2 - psi(d / 2) + log(d / 2) of each cell, psi'(d0 / 2) = var(e) - mean psi'(d / 2) and
    log s0^2 = mean e + psi(d0 / 2) - log(d0 / 2). d0 is at most the cells' degrees together, which is what s0^2
    rests on where they do not differ at all.
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
