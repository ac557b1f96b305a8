"""Ratios between programs that share no round: through a third, with the error of both factors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.measurement.bridged_ratio import group_ratio
from cnnbench.measurement.levels import ratio_interval, ratio_spread

LAUNCHES, ROUNDS, NOISE = 3, 5, 0.02


def timed(generator, seconds, drift, numbers):
    """Five calls a round, all of them slowed by what the machine did in that round."""
    return {key: list(seconds * drift[key] * np.exp(generator.normal(0, NOISE, 5))) for key in numbers}


def parts(seed, seconds=(0.010, 0.020, 0.040)):
    """The anchor in two parts; one other program in each."""
    generator = np.random.default_rng(seed)
    keys = [(launch, number) for launch in range(LAUNCHES) for number in range(2 * ROUNDS)]
    drift = {key: math.exp(generator.normal(0, 0.2)) for key in keys}
    first, second = [key for key in keys if key[1] < ROUNDS], [key for key in keys if key[1] >= ROUNDS]
    anchor = timed(generator, seconds[0], drift, keys)
    return anchor, timed(generator, seconds[1], drift, first), timed(generator, seconds[2], drift, second)


def test_two_that_share_rounds_need_no_third():
    anchor, one, other = parts(0)
    assert group_ratio(one, anchor, [other]) == ratio_spread(one, anchor)


def test_drift_between_the_parts_cancels_in_the_anchor():
    anchor, one, other = parts(1)
    ratio = group_ratio(other, one, [{}, anchor]).ratio()
    assert ratio.low < 2.0 < ratio.high
    assert ratio.value == pytest.approx(2.0, rel=0.03)
    assert ratio.high / ratio.low < 1.1
    factors = ratio_interval(other, anchor), ratio_interval(anchor, one)
    assert ratio.value == pytest.approx(factors[0].value * factors[1].value)
    assert ratio.log_error == pytest.approx(math.hypot(*(factor.log_error for factor in factors)))
    assert ratio.pairs == LAUNCHES * ROUNDS


def test_its_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(200):
        anchor, one, other = parts(seed)
        ratio = group_ratio(other, one, [anchor]).ratio(0.9)
        held += ratio.low <= 2.0 <= ratio.high
    assert 0.85 <= held / 200 <= 1.0


def test_what_nothing_links_has_no_ratio():
    _, one, other = parts(2)
    assert group_ratio(other, one, [{}]) is None
    assert group_ratio(other, one, []) is None


def test_one_shared_round_gives_a_value_without_an_interval():
    ratio = group_ratio({(0, 1): [4.0]}, {(0, 0): [1.0]}, [{(0, 0): [2.0], (0, 1): [2.0]}]).ratio()
    assert (ratio.value, ratio.confidence) == (4.0, 0.0)
    assert ratio.low == ratio.high == 4.0


def test_a_sample_that_is_no_time_is_refused():
    with pytest.raises(DataError, match="not a positive number"):
        group_ratio({(0, 1): [-4.0]}, {(0, 0): [1.0]}, [{(0, 0): [2.0], (0, 1): [2.0]}])
