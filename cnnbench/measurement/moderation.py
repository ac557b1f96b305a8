"""Moderated variances: the variance of a cell with few launches borrows degrees of freedom from the other cells."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

LEAST_CELLS = 4
UNUSUAL = 0.1


@dataclass(frozen=True)
class Variance:
    """A variance with the degrees of freedom behind it."""

    value: float
    degrees: float


@dataclass(frozen=True)
class Common:
    """The prior of all cells of a run: a variance s0^2, and the degrees of freedom d0 that it adds to each cell's."""

    value: float
    degrees: float


def moderated(observed: Sequence[Variance], most: float | None = None) -> list[Variance]:
    """The moderated variance of each cell.

        s~^2 = max(s^2, (d0 s0^2 + d s^2) / (d0 + d)),    degrees d0 + d

    Four launches give a variance s^2 with d = 3 degrees of freedom. By chance it is sometimes far too small, and
    Student's t makes up for that with intervals several times as wide. But all cells ran on one machine, so their
    variances say how large one can be: s0^2 and d0 come from all of them (``common_variance``). Where the true
    variances of the cells differ, d0 is small, and s~^2 is nearly s^2.

    * Fewer than ``LEAST_CELLS`` cells are left as they are.
    * A cell may be noisier than chance alone would show: F(d, d0) exceeds s^2 / s0^2 with a probability p below
      ``UNUSUAL``. For it d0 shrinks to d0 p / ``UNUSUAL``, so that the quiet cells do not speak for it.
    * The degrees are at most ``most``, those that all cells have together.

    Args:
        observed: One variance a cell, with its degrees of freedom.
        most: Degrees behind all cells together; their sum unless given. It is less where cells are disturbed together
            (``joint_degrees``).

    Returns:
        As many variances, in the same order.

    Source: Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments" (2004), section 6.2; the smaller d0 of unusual cells after Phipson et al., "Robust hyperparameter
    estimation protects against hypervariable genes" (2016). The maximum is not in them; it is on the safe side, and
    costs some power.
    """
    from scipy.special import fdtrc

    common = common_variance(observed)
    if common is None:
        return list(observed)
    most = sum(item.degrees for item in observed if _is_known(item)) if most is None else most
    steadied = []
    for item in observed:
        if not 0 < item.degrees < math.inf:
            steadied.append(item)
            continue
        chance = float(fdtrc(item.degrees, common.degrees, item.value / common.value))
        added = common.degrees * min(1.0, chance / UNUSUAL)
        shared = (added * common.value + item.degrees * item.value) / (added + item.degrees)
        degrees = min(added + item.degrees, max(most, item.degrees))
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

    known = [item for item in observed if _is_known(item)]
    if len(known) < LEAST_CELLS:
        return None
    logs = [math.log(item.value) - float(psi(item.degrees / 2)) + math.log(item.degrees / 2) for item in known]
    mean = sum(logs) / len(logs)
    scatter = sum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    excess = scatter - sum(float(polygamma(1, item.degrees / 2)) for item in known) / len(known)
    most = sum(item.degrees for item in known)
    degrees = min(most, 2 * _inverse_trigamma(excess)) if excess > 0 else most
    return Common(math.exp(mean + float(psi(degrees / 2)) - math.log(degrees / 2)), degrees)


def joint_degrees(levels: Sequence[Mapping[int, float]], groups: Sequence[Hashable]) -> float:
    """The degrees of freedom that cells have together, where what disturbs one may disturb its neighbours.

    Ten cells of two launches have ten degrees of freedom if each varies for reasons of its own. If the machine was
    slow in one of the launches they have one. The deviations of all cells, each divided by its own standard
    deviation, are parted into what a launch shares, what a group shares in it, and the rest: sums of squares S_i with
    d_i degrees each, of S = d in all. By Satterthwaite's formula they are worth

        d^2 / sum_i (S_i^2 / d_i)

    Args:
        levels: The level of each cell by launch, on a logarithmic scale.
        groups: The comparison group of each cell: its members were timed in the same rounds.
    """
    whole = within_group = group_degrees = 0.0
    scaled = [_standardised(item) for item in levels]
    members: dict[Hashable, list[Mapping[int, float]]] = {}
    for item, group in zip(scaled, groups, strict=True):
        if item:
            whole += len(item) - 1
            members.setdefault(group, []).append(item)
    if not whole:
        return 0.0
    everyone = [item for together in members.values() for item in together]
    within_launch, launch_degrees = _shared(everyone)
    for together in members.values():
        squares, degrees = _shared(together)
        within_group, group_degrees = within_group + squares, group_degrees + degrees
    parts = (
        (within_launch, launch_degrees),
        (within_group - within_launch, group_degrees - launch_degrees),
        (whole - within_group, whole - group_degrees),
    )
    return whole**2 / sum(max(squares, 0.0) ** 2 / degrees for squares, degrees in parts if degrees > 0)


def _shared(members: Sequence[Mapping[int, float]]) -> tuple[float, float]:
    """The sum of squares that members share by launch, with its degrees."""
    launches = {launch for item in members for launch in item}
    squares = 0.0
    for launch in launches:
        values = [item[launch] for item in members if launch in item]
        squares += sum(values) ** 2 / len(values)
    return squares, len(launches) - 1.0


def _standardised(levels: Mapping[int, float]) -> dict[int, float]:
    """Deviations from their mean, over their standard deviation; {} where there is none."""
    if len(levels) < 2:
        return {}
    mean = sum(levels.values()) / len(levels)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in levels.values()) / (len(levels) - 1))
    return {launch: (value - mean) / deviation for launch, value in levels.items()} if deviation else {}


def _is_known(item: Variance) -> bool:
    return item.value > 0 and 0 < item.degrees < math.inf


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
