"""The parts of a verdict against independent figures."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest, norm
from synthetic_run import Noise, Truth, synthetic_run

from cnnbench.gates.baselines import snapshot
from cnnbench.gates.compare import compare, relative
from cnnbench.gates.judgement import Change, judgement
from cnnbench.gates.pairs import Pair
from cnnbench.gates.resources import mcnemar
from cnnbench.gates.rules import Rules
from cnnbench.gates.variation import launch_variance


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 0), (0, 5), (9, 3), (20, 22), (60, 31)])
def test_mcnemar_is_the_sign_test(lost: int, won: int) -> None:
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0

    assert mcnemar(lost, won) == pytest.approx(expected)


def test_detectable_change_has_the_stated_power() -> None:
    change = Change(estimate=0.0, error=0.03, degrees=math.inf, threshold=0.1)
    truth = change.detectable(0.95, 0.8)

    assert 1 - norm.cdf((0.1 + 1.959964 * 0.03 - truth) / 0.03) == pytest.approx(0.8, abs=1e-6)
    assert change.false_alarm_rate(0.95) == pytest.approx(norm.sf((0.1 + 1.959964 * 0.03) / 0.03))


@pytest.mark.parametrize(
    ("estimate", "error", "verdict"),
    [
        (0.0, 0.02, "unchanged"),
        (0.09, 0.02, "unchanged"),
        (0.11, 0.02, "inconclusive"),  # beyond the threshold, but its interval is not
        (0.16, 0.02, "regressed"),
        (-0.16, 0.02, "improved"),
        (0.0, 0.15, "inconclusive"),  # could hide twice the threshold
    ],
)
def test_a_verdict_follows_from_estimate_and_error(estimate: float, error: float, verdict: str) -> None:
    change = Change(estimate=estimate, error=error, degrees=math.inf, threshold=0.1)

    assert judgement(change, Rules(), discovered=True)[0] == verdict


def test_a_finding_that_chance_explains_among_many_is_inconclusive() -> None:
    change = Change(estimate=0.2, error=0.02, degrees=math.inf, threshold=0.1)

    assert judgement(change, Rules(), discovered=False)[0] == "inconclusive"


@pytest.mark.parametrize("sigma", [0.01, 0.03])
def test_the_launch_variation_is_recovered(sigma: float) -> None:
    noise = Noise(launch=sigma, call=0.005, spikes=0.0)
    estimates = []
    for seed in range(10):
        runs = [snapshot(synthetic_run(Truth(seed=2 * seed + i, noise=noise, launches=4))) for i in (0, 1)]
        pairs = [Pair(a, b) for a, b in zip(runs[0].cells, runs[1].cells, strict=True) if a.rounds]
        estimates.append(launch_variance(pairs).value)

    assert math.sqrt(sum(estimates) / len(estimates)) == pytest.approx(sigma, rel=0.2)


def test_comparing_two_runs_shows_their_settings_first() -> None:
    base, head = (snapshot(synthetic_run(Truth(seed=seed))) for seed in (1, 2))
    cells = tuple(
        cell.model_copy(update={"versions": cell.versions | {"torch": "2.2.0"}})
        if cell.cell.backend == "torch"
        else cell
        for cell in head.cells
    )
    head = head.model_copy(update={"cells": cells, "environment": head.environment | {"python": "3.12.1"}})
    found = compare(base, head)

    told = {(item.where, item.name, item.base, item.head) for item in found.differences}
    assert told == {("environment", "python", "3.11.9", "3.12.1"), ("torch eager: version", "torch", "2.1.0", "2.2.0")}
    assert len(found.result.verdicts) == 16 * 3 + 4


def test_within_a_run_every_cell_is_set_against_the_fastest() -> None:
    found = relative(synthetic_run(Truth(seed=4)))
    ratios = {item.series: item.ratio for item in found if item.group == "resnet50-b8"}

    assert ratios["torch eager"].value == 1
    assert ratios["numpy fast"].low < 2.0 < ratios["numpy fast"].high
    assert {item.fastest for item in found} == {"torch eager"}
