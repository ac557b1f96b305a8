"""How much a latency varies from process to process and from run to run, as two runs themselves show it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, median

from cnnbench.gates.baselines import CellSnapshot
from cnnbench.gates.controls import launch_differences
from cnnbench.gates.drift import Drift
from cnnbench.gates.pairs import Pair, launch_locations, without_shared
from cnnbench.gates.rules import Rules
from cnnbench.harness.suite.cell import Key
from cnnbench.measurement.levels import MEDIAN_VARIANCE, RoundValues, by_launch, share_of_median
from cnnbench.measurement.moderation import Variance
from cnnbench.measurement.turn_ratio import MAD_TO_SIGMA

MINIMUM_RESIDUALS = 4


def launch_variance(pairs: Sequence[Pair]) -> Variance:
    """The variance of a launch's level around its cell's, pooled over the cells of both runs.

    What all cells of a group share in a round (the machine's drift within the run) is taken out first. A control
    differs from its cell by two launches' levels, so half of its square counts.
    """
    known = [side.control for pair in pairs for side in pair.sides if side.control is not None]
    differences = [value for control in known for value in launch_differences(control)]
    squares = sum(value**2 / 2 for value in differences)
    degrees = float(len(differences))
    for side in (0, 1):
        for cells in _groups(pairs, side):
            levels = [by_launch(rounds) for rounds in without_shared(cells)]
            if min(len(level) for level in levels) < 2:
                continue
            for level in levels:
                centre = mean(level.values())
                squares += sum((value - centre) ** 2 for value in level.values())
            lost = 1 if len(levels) >= 3 else 0  # the shared part
            degrees += (len(levels) - lost) * (min(len(level) for level in levels) - 1)
    return Variance(squares / degrees if degrees else 0.0, degrees)


def run_variance(pairs: Sequence[Pair], drifts: Mapping[str, Drift]) -> Variance:
    """The variance of a cell's change from run to run: the changes around their drift and their backend's mean.

    A change of a whole backend moves its mean and leaves this alone.
    """
    series: dict[Key, list[float]] = {}
    for pair in pairs:
        series.setdefault(pair.series, []).append(pair.delta - drifts[pair.key].value)
    squares = degrees = 0.0
    for values in series.values():
        centre = mean(values)
        squares += sum((value - centre) ** 2 for value in values)
        degrees += len(values) - 1
    return Variance(squares / degrees if degrees else 0.0, degrees)


def with_prior(observed: Variance, rules: Rules) -> Variance:
    """An observed launch variance blended with the assumed one as ``prior_degrees`` observations."""
    total = observed.degrees + rules.prior_degrees
    squares = observed.value * observed.degrees + rules.prior_degrees * rules.launch_variation**2
    return Variance(squares / total, total)


def round_variances(pairs: Sequence[Pair]) -> dict[str, float]:
    """By the cell's key: the variance of a change that the scatter of rounds within launches explains.

    A cell that is noisier than its neighbours shows it here.
    """
    found: dict[str, float] = {}
    for side in (0, 1):
        for members in _grouped(pairs):
            for pair, rounds in zip(members, without_shared([pair.sides[side] for pair in members]), strict=True):
                found[pair.key] = found.get(pair.key, 0.0) + _location_error(rounds) ** 2
    return found


def change_variance(pair: Pair, launch: Variance, runs: Variance, rounds: float, rules: Rules) -> Variance:
    """The variance of one cell's change, without the uncertainty of the drift.

    It is the largest of three: by launches, by rounds, and by the changes of all cells. Runs of a single launch show
    nothing of the variation between launches; then the changes of all cells take its place, where there are enough.

    Args:
        pair: The cell in both runs.
        launch: The variance between launches, pooled over all cells.
        runs: The variance of changes, pooled over all cells.
        rounds: The variance of this cell's change by the scatter of its rounds.
        rules: With the assumed variance between launches.
    """
    blended = with_prior(launch, rules)
    share = sum(share_of_median(len(launch_locations(side))) for side in pair.sides)
    if runs.degrees >= MINIMUM_RESIDUALS and launch.degrees == 0:
        return Variance(max(runs.value, rounds), runs.degrees)
    within = Variance(max(blended.value * share, rounds), blended.degrees)
    if runs.degrees >= MINIMUM_RESIDUALS and runs.value > within.value:
        return runs
    return within


def _location_error(rounds: RoundValues) -> float:
    """The standard error of a location from the scatter of rounds around their launch's median."""
    levels = by_launch(rounds)
    scatter = [abs(value - levels[launch]) for (launch, _), value in rounds.items()]
    launches = len(levels)
    return (
        MAD_TO_SIGMA
        * median(scatter)
        * math.sqrt(MEDIAN_VARIANCE / len(scatter) * launches * share_of_median(launches))
    )


def _grouped(pairs: Sequence[Pair]) -> list[list[Pair]]:
    groups: dict[Key, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.group, []).append(pair)
    return list(groups.values())


def _groups(pairs: Sequence[Pair], side: int) -> list[list[CellSnapshot]]:
    return [[pair.sides[side] for pair in members] for members in _grouped(pairs)]
