"""Intervals cover what they say, ratios pair by round, and the false discovery rate is held."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.harness.passes.findings import Sample
from cnnbench.measurement.levels import latency_spread, ratio_interval
from cnnbench.measurement.noise import noise_floor, proportion_interval
from cnnbench.measurement.statistics import benjamini_hochberg, grouped


def draw(generator, launches, rounds, calls, *, between=0.0, within=0.02, scale=1.0):
    """Log-normal latencies with an effect for each launch and each round."""
    samples = {}
    for launch in range(launches):
        effect = generator.normal(0, between)
        for index in range(rounds):
            middle = effect + generator.normal(0, within)
            samples[launch, index] = scale * np.exp(middle + generator.normal(0, 0.02, calls))
    return samples


def test_one_call_claims_no_confidence():
    assert latency_spread({(0, 0): [0.25]}).estimate().confidence == 0
    ratio = ratio_interval({(0, 0): [0.25]}, {(0, 0): [0.5]})
    assert ratio.value == 0.5
    assert ratio.confidence == 0
    assert ratio.p_above(0.4) == 1.0
    assert ratio.smallest_detectable_change() == math.inf


def test_drift_that_hits_both_cells_of_a_round_cancels_in_the_paired_ratio_only():
    generator = np.random.default_rng(5)
    drift = {(0, i): 1 + 0.5 * generator.random() for i in range(12)}
    base = {key: factor * (1 + 0.001 * generator.random(6)) for key, factor in drift.items()}
    head = {key: 1.05 * factor * (1 + 0.001 * generator.random(6)) for key, factor in drift.items()}
    paired = ratio_interval(head, base)
    unpaired = latency_spread(head).plus(latency_spread(base), -1).ratio(0.95)
    assert paired.low < 1.05 < paired.high
    assert paired.high - paired.low < 0.005
    assert paired.p_above(1.02) < 1e-6
    assert unpaired.high - unpaired.low > 0.1
    assert unpaired.p_above(1.02) > 0.05


def test_swapping_head_and_base_inverts_the_ratio():
    generator = np.random.default_rng(6)
    a, b = draw(generator, 1, 8, 6), draw(generator, 1, 8, 6, scale=1.3)
    forward, backward = ratio_interval(a, b), ratio_interval(b, a)
    assert forward.value == pytest.approx(1 / backward.value)
    assert backward.p_above(1.0) < 0.01
    assert forward.p_above(1.0) > 0.99


def test_the_smallest_detectable_change_is_found_about_four_times_in_five():
    generator = np.random.default_rng(11)
    calm = [ratio_interval(draw(generator, 1, 12, 6), draw(generator, 1, 12, 6)) for _ in range(20)]
    change = float(np.median([ratio.smallest_detectable_change() for ratio in calm]))
    found = 0
    for _ in range(100):
        ratio = ratio_interval(draw(generator, 1, 12, 6, scale=1 + change), draw(generator, 1, 12, 6))
        found += ratio.low > 1
    assert 0.6 <= found / 100 <= 0.97


def test_cells_that_share_no_round_do_not_pair():
    with pytest.raises(DataError, match="share no round"):
        ratio_interval({(0, 0): [1.0]}, {(1, 0): [1.0]})


def test_benjamini_hochberg_on_the_example_of_the_paper():
    # Benjamini and Hochberg (1995), section 3: fifteen p values, four rejected at a rate of 0.05.
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    assert benjamini_hochberg(p, 0.05) == [True] * 4 + [False] * 11
    assert benjamini_hochberg(list(reversed(p)), 0.05) == [False] * 11 + [True] * 4
    assert benjamini_hochberg([]) == []


def test_equal_programs_raise_few_alarms_and_give_a_floor_near_their_noise():
    generator = np.random.default_rng(12)
    pairs = [(draw(generator, 1, 8, 6), draw(generator, 1, 8, 6)) for _ in range(40)]
    noise = noise_floor(pairs, threshold=0.05)
    assert noise.false_alarms == 0
    assert noise.comparisons == 40
    assert 0.005 < noise.floor < 0.06
    assert noise.false_alarm_rate.low == 0
    assert noise.false_alarm_rate.high < 0.1


def test_wilsons_interval_has_its_published_value():
    # Newcombe (1998), table I: 15 of 148 gives 0.0624 to 0.1605.
    estimate = proportion_interval(15, 148)
    assert (estimate.low, estimate.high) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_lines_of_samples_group_by_launch_and_round_in_their_order():
    lines = [
        Sample(launch=a, round=b, index=i, latency_s=1 + a + b + i / 10) for a in (0, 1) for b in (0, 1) for i in (0, 1)
    ]
    assert grouped(lines)[1, 0] == [2.0, 2.1]
    assert list(grouped(lines)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
