"""Intervals of metrics: how often they cover a truth that is known, and where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from cnnbench.training.metrics.anomaly import auroc
from cnnbench.training.metrics.intervals import share_interval
from cnnbench.training.metrics.keypoints import PCKStatistic
from cnnbench.training.metrics.statistic import MeanStatistic, measured


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (19, 20), (20, 20), (3, 11)])
def test_the_interval_of_a_share_is_scipy_s(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, "exact")
    assert share_interval(successes, trials, 0.95) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("trials", [20, 100])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_the_interval_of_a_share_covers_it(share, trials):
    counts = np.arange(trials + 1)
    ends = np.array([share_interval(int(count), trials, 0.95) for count in counts])
    covers = (ends[:, 0] <= share) & (share <= ends[:, 1])
    assert binom.pmf(counts, trials, share)[covers].sum() >= 0.95


def test_a_share_of_images_has_the_exact_interval():
    found = measured(MeanStatistic(np.array([1.0] * 19 + [0.0, np.nan])))
    assert (found.low, found.high) == pytest.approx(share_interval(19, 20, 0.95))


def test_no_interval_is_made_up():
    equal = measured(PCKStatistic(np.full(9, 14), np.full(9, 14)))
    assert equal.value == 1
    assert math.isnan(equal.low)
    few = measured(auroc(np.arange(48.0), np.arange(48) % 2))
    assert few.value > 0.5
    assert math.isnan(few.low)
    assert measured(auroc(np.arange(50.0), np.arange(50) % 2), resamples=100).low < 0.6


def _pck(generator: np.random.Generator, count: int):
    shares = generator.beta(3.8, 0.2, count)
    return PCKStatistic(generator.binomial(14, shares), np.full(count, 14))


def _similarity(generator: np.random.Generator, count: int):
    return MeanStatistic(generator.beta(18, 2, count))


def _error(generator: np.random.Generator, count: int):
    return MeanStatistic(generator.lognormal(0, 0.7, count))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "count", "truth"),
    [
        pytest.param(_pck, 50, 0.95, id="pck-50"),
        pytest.param(_pck, 200, 0.95, id="pck-200"),
        pytest.param(_similarity, 20, 0.9, id="oks-20"),
        pytest.param(_similarity, 100, 0.9, id="oks-100"),
        pytest.param(_error, 100, math.exp(0.245), id="error-100"),
    ],
)
def test_intervals_cover_the_truth(draw, count, truth):
    generator = np.random.default_rng(count)
    held = 0
    for seed in range(500):
        found = measured(draw(generator, count), seed, 300)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 500 <= 0.98  # 93 to 97 % and a standard error of the simulation
