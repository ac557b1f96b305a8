"""Latencies and ratios launch by launch: closed forms, what an interval covers, and how often it holds the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from cnnbench.errors import DataError
from cnnbench.measurement.levels import Spread, latency_spread, location, ratio_spread, share_of_median, steadied
from cnnbench.measurement.moderation import Variance

TWO = {(0, 0): [1.0, 2.0, 9.0], (0, 1): [2.0], (0, 2): [8.0], (1, 0): [4.0], (1, 1): [4.0]}


def drawn(generator, cells, *, launches=3, own=0.03, shared=0.0, group=4, rounds=4):
    """Latencies of 1 s: a launch has a level of its own, a group one that its cells share, and rounds scatter."""
    found = []
    for cell in range(cells):
        if cell % group == 0:
            together = generator.normal(0, shared, launches)
        levels = together + generator.normal(0, own, launches)
        found.append(
            {(a, b): np.exp(levels[a] + generator.normal(0, 0.01, 3)) for a in range(launches) for b in range(rounds)}
        )
    return found


def test_of_two_launches_the_latency_is_the_mean_of_the_logarithms_and_its_interval_is_students():
    found = latency_spread(TWO)
    levels = [math.log(2), math.log(4)]  # the median of 2, 2 and 8, and 4
    assert (
        found.value
        == pytest.approx(np.mean(levels))
        == location({key: math.log(np.median(v)) for key, v in TWO.items()})
    )
    reach = student.ppf(0.975, 1) * np.std(levels, ddof=1) * math.sqrt(share_of_median(2))
    estimate = found.estimate()
    assert (estimate.low, estimate.high) == pytest.approx(
        (math.exp(found.value - reach), math.exp(found.value + reach))
    )
    assert (found.covers, found.rounds, found.unit.degrees) == ("launches", 5, 1)


def test_one_slow_launch_moves_the_latency_no_farther_than_the_next_quick_one():
    found = latency_spread({(0, 0): [1.00], (1, 0): [1.02], (2, 0): [1.5]})
    assert math.exp(found.value) == pytest.approx(1.02)
    assert found.unit.value == pytest.approx(np.var(np.log([1.00, 1.02, 1.5]), ddof=1))  # but the interval is wide
    head, base = ({(a, 0): [value] for a, value in enumerate(values)} for values in ([2.0, 2.1, 4.0], [1.0, 1.0, 1.0]))
    assert math.exp(ratio_spread(head, base).value) == pytest.approx(2.1)


@pytest.mark.parametrize("count", range(1, 12))
def test_the_share_of_a_median_is_that_of_normal_values_or_little_more(count):
    """The variance of the middle order statistics, from their densities."""
    x = np.linspace(-8, 8, 1601)
    below, density, step = norm.cdf(x), norm.pdf(x), 0.01
    low, high = (count - 1) // 2, count // 2
    if low == high:
        exact = (
            float(np.sum(x**2 * density * (below * (1 - below)) ** low) * step) * math.comb(count, low) * (count - low)
        )
    else:  # two values in the middle, of which the lower lies at x and the upper at y
        ways = math.factorial(count) / math.factorial(low) ** 2
        pairs = np.triu(
            ((x[:, None] + x) / 2) ** 2 * (density * below**low)[:, None] * (density * (1 - below) ** low), 1
        )
        exact = float(pairs.sum()) * step**2 * ways
    assert exact * 0.999 <= share_of_median(count) <= exact * 1.04


def test_intervals_hold_the_median_launch_where_one_launch_in_eight_is_slow():
    """Of a mean, three in ten do not: a run without a slow launch shows nothing of them."""
    generator, held = np.random.default_rng(3), {"median": [], "mean": []}
    slow = np.log(generator.uniform(1.2, 1.5, 100_000)) * (generator.random(100_000) < 1 / 8)
    truth = {"median": np.median(slow + generator.normal(0, 0.02, 100_000)), "mean": slow.mean()}
    for _ in range(150):
        hits = np.log(generator.uniform(1.2, 1.5, (6, 3))) * (generator.random((6, 3)) < 1 / 8)
        levels = np.exp(hits + generator.normal(0, 0.02, (6, 3)))
        own = [latency_spread({(a, 0): [value] for a, value in enumerate(cell)}) for cell in levels]
        for spread in steadied(own, range(6)):
            mean = replace(spread, value=float(np.mean(list(spread.levels.values()))), share=1 / 3)
            for name, item in (("median", spread), ("mean", mean)):
                found = item.estimate()
                held[name].append(math.log(found.low) <= truth[name] <= math.log(found.high))
    assert np.mean(held["median"]) > 0.9 > 0.8 > np.mean(held["mean"])


def test_a_far_quantile_is_of_all_calls_of_a_launch():
    found = latency_spread(TWO, 0.9)
    assert found.value == pytest.approx((math.log(np.quantile([1, 2, 9, 2, 8], 0.9)) + math.log(4)) / 2)
    assert found.value > latency_spread(TWO).value


@pytest.mark.parametrize(
    ("samples", "covers", "degrees"),
    [
        ({(3, 0): [1.0], (3, 1): [1.1], (3, 2): [1.2]}, "rounds", 2),
        ({(0, 0): [1.0, 1.1, 1.3, 1.2]}, "calls", 3),
        ({(0, 0): [1.0]}, "nothing", math.inf),
    ],
)
def test_what_has_no_launches_to_compare_says_what_its_interval_covers(samples, covers, degrees):
    found = latency_spread(samples)
    assert (found.covers, found.unit.degrees) == (covers, degrees)
    middle = np.median([math.log(value) for values in samples.values() for value in values])
    assert found.value == pytest.approx(middle)
    estimate = found.estimate()
    assert (estimate.confidence == 0) == (covers == "nothing") == (estimate.low == estimate.high)


def test_an_interval_on_the_logarithm_has_no_end_below_zero():
    estimate = latency_spread({(0, 0): [0.010], (1, 0): [0.090]}).estimate()
    assert 0 < estimate.low < 0.03 < estimate.high < math.inf


def test_equal_samples_have_an_interval_of_no_width():
    estimate = latency_spread({(0, 0): [0.5] * 4, (1, 0): [0.5] * 4}).estimate()
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_sample_that_is_not_a_positive_number_is_refused_with_its_place(bad):
    with pytest.raises(DataError, match="launch 2, round 3"):
        latency_spread({(2, 3): [1.0, bad]})
    with pytest.raises(DataError):
        latency_spread({})
    with pytest.raises(DataError):
        ratio_spread({(0, 0): [bad]}, {(0, 0): [1.0]})


def test_sums_and_differences_add_variances_and_keep_the_weaker_cover():
    a = Spread(1.0, "launches", Variance(0.04, 3.0), 0.25, {0: 1.0, 1: 2.0}, 8)
    b = Spread(3.0, "rounds", Variance(0.09, 2.0), 1.0, {1: 5.0}, 2)
    found = b.plus(a, -1)
    assert (found.value, found.covers, found.rounds, found.levels) == (2.0, "rounds", 2, {1: 3.0})
    assert found.error == pytest.approx(math.hypot(0.1, 0.3))
    assert found.unit.degrees == pytest.approx((0.01 + 0.09) ** 2 / (0.01**2 / 3 + 0.09**2 / 2))


@pytest.mark.parametrize(
    ("cells", "launches", "shared"), [(3, 3, 0.0), (8, 3, 0.0), (20, 2, 0.0), (20, 3, 0.03), (80, 3, 0.03)]
)
def test_steadied_intervals_hold_the_truth_and_are_far_narrower(cells, launches, shared):
    generator = np.random.default_rng(4)
    held, widths = [], []
    for _ in range(600 // cells + 20):
        own = [latency_spread(item) for item in drawn(generator, cells, launches=launches, shared=shared)]
        steady = steadied(own, [i // 4 for i in range(cells)])
        held += [found.estimate().low <= 1 <= found.estimate().high for found in steady]
        widths.append(
            [np.median([math.log(found.estimate().high) - found.value for found in group]) for group in (own, steady)]
        )
    assert 0.91 < np.mean(held) < 0.99
    before, after = np.mean(widths, axis=0)
    assert after < (1.01 if cells < 4 else 0.75) * before
    assert [found.value for found in steady] == [found.value for found in own]


def test_a_slow_minute_that_a_group_shares_does_not_count_once_for_each_of_its_cells():
    """All cells show one launch 10 % slower: there is one degree of freedom, however many cells say so."""
    cells = [{(0, 0): [1.0], (1, 0): [1.1 * math.exp(i / 1e6)]} for i in range(12)]
    found = steadied([latency_spread(item) for item in cells], ["group"] * 12)
    assert all(item.unit.degrees == pytest.approx(1.0, rel=1e-3) for item in found)
    apart = [{(0, 0): [1.0], (1, 0): [1.1 ** (-1) ** i * math.exp(i / 1e6)]} for i in range(12)]
    assert steadied([latency_spread(item) for item in apart], list(range(12)))[0].unit.degrees > 8


def test_launches_rounds_and_calls_are_steadied_apart_and_what_varies_by_nothing_borrows():
    generator = np.random.default_rng(2)
    launches = [latency_spread(item) for item in drawn(generator, 6)]
    rounds = [latency_spread(item) for item in drawn(generator, 5, launches=1)]
    still = latency_spread({(0, 0): [1.0], (1, 0): [1.0], (2, 0): [1.0]})
    nothing = latency_spread({(0, 0): [1.0]})
    found = steadied([*launches, *rounds, still, nothing], range(13))
    assert [item.covers for item in found] == ["launches"] * 6 + ["rounds"] * 5 + ["launches", "nothing"]
    assert found[:6] != launches
    assert found[6:11] == steadied(rounds, range(6, 11))
    assert found[11].unit.value > 0
    assert found[12] == nothing
    assert steadied([], []) == []
