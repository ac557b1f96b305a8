"""The ratio of programs whose calls alternate: right, known as well as it says, and hardly moved by disturbances."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.measurement.levels import ratio_interval
from cnnbench.measurement.turn_ratio import location, ratio_in_turns

TRUTH = 0.05


def drawn(generator, *, launches=4, rounds=3, calls=6, launch=0.008, disturbed=0.0):
    """Base and head whose calls share drift of any size; a round is disturbed, or varies by 4 % from pair to pair."""
    base, head = {}, {}
    for i in range(launches):
        level = generator.normal(0, launch)
        for j in range(rounds):
            noise = 0.2 if generator.random() < disturbed else 0.04
            shared = np.cumsum(generator.normal(0, 0.1, calls))
            base[i, j] = 0.02 * np.exp(shared)
            head[i, j] = base[i, j] * np.exp(TRUTH + level + generator.normal(0, noise, calls))
    return head, base


@pytest.mark.parametrize(("launches", "disturbed"), [(4, 0.0), (12, 0.0), (4, 0.5), (12, 0.5), (12, 1.0)])
def test_its_intervals_hold_and_its_error_is_its_error(launches, disturbed):
    generator = np.random.default_rng(7)
    found = [ratio_in_turns(*drawn(generator, launches=launches, disturbed=disturbed)) for _ in range(600)]
    missed = np.mean([not item.low <= math.exp(TRUTH) <= item.high for item in found])
    assert missed < 0.07
    scatter = np.std([math.log(item.value) for item in found])
    stated = np.median([item.log_error for item in found])
    assert 0.85 * scatter < stated < 1.3 * scatter
    assert abs(np.mean([math.log(item.value) for item in found]) - TRUTH) < 4 * scatter / math.sqrt(600)


def test_disturbances_move_it_less_than_the_medians_of_rounds():
    generator = np.random.default_rng(8)
    pairs = [drawn(generator, disturbed=0.3) for _ in range(200)]
    ours = np.std([math.log(ratio_in_turns(*pair).value) for pair in pairs])
    blocks = np.std([math.log(ratio_interval(*pair).value) for pair in pairs])
    assert ours < 0.8 * blocks


def test_launches_that_differ_are_seen():
    generator = np.random.default_rng(9)
    alike = [ratio_in_turns(*drawn(generator, launch=0.0)) for _ in range(100)]
    apart = [ratio_in_turns(*drawn(generator, launch=0.1)) for _ in range(100)]
    assert np.median([item.degrees for item in apart]) < 4 < np.median([item.degrees for item in alike])
    assert np.median([item.log_error for item in apart]) > 3 * np.median([item.log_error for item in alike])


def test_calls_pair_by_their_place():
    base, head = {(0, 0): [1.0, 2.0, 4.0]}, {(0, 0): [2.0, 4.0, 8.0, 100.0]}  # the last has no partner
    found = ratio_in_turns(head, base)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert ratio_in_turns(base, head).value == pytest.approx(0.5)


def test_one_launch_one_round_and_one_pair():
    generator = np.random.default_rng(10)
    head, base = drawn(generator, launches=1)
    assert ratio_in_turns(head, base).degrees == 2
    one = ratio_in_turns({(0, 0): head[0, 0]}, {(0, 0): base[0, 0]})
    assert one.low < one.value < one.high
    assert one.degrees == 5
    single = ratio_in_turns({(0, 0): [2.0]}, {(0, 0): [1.0]})
    assert (single.value, single.confidence) == (2.0, 0.0)


def test_nothing_in_common_is_refused():
    with pytest.raises(DataError, match="share no round"):
        ratio_in_turns({(0, 0): [1.0]}, {(1, 0): [1.0]})
    with pytest.raises(DataError, match="not a positive number"):
        ratio_in_turns({(0, 0): [1.0]}, {(0, 0): [-1.0]})


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.0, 1.0], 1.0), ([0.0, 0.0, 0.0, 0.0, 9.0], 0.315), ([-1.0, 1.0], 0.0), ([3.0], 3.0)],
)
def test_locations_of_degenerate_values(values, expected):
    assert location(np.array(values)).value == pytest.approx(expected, abs=1e-9)


def test_the_location_solves_its_equation():
    values = np.random.default_rng(11).standard_t(2, 101)
    found = location(values)
    assert abs(found.influences.sum()) < 1e-6
    assert location(values + 5).value == pytest.approx(found.value + 5)
    assert location(3 * values).value == pytest.approx(3 * found.value)
