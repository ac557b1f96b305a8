"""What controls say of the noise, and how they enter the variation between launches."""

from __future__ import annotations

import math
import random

import pytest

from cnnbench.gates.controls import floor_of, floor_sentence, launch_differences
from cnnbench.gates.rules import Rules
from cnnbench.harness.run.record import Control, Interval, RoundRatio


def control(ratio=1.0, launches=3, rounds=5, noise=0.002, seed=0):
    draw = random.Random(seed)
    found = tuple(
        RoundRatio(launch=launch, round=number, ratio=ratio * math.exp(draw.gauss(0, noise)))
        for launch in range(launches)
        for number in range(rounds)
    )
    return Control(ratio=Interval(value=ratio, low=ratio, high=ratio), rounds=found)


def test_a_run_without_controls_says_nothing():
    assert floor_of([None, None], Rules()) is None


def test_equal_programs_are_no_alarm_and_the_bound_is_said():
    floor = floor_of([control(seed=seed) for seed in range(6)], Rules())
    assert (floor.comparisons, floor.false_alarms) == (6, 0)
    assert floor.floor < 0.005
    text = floor_sentence(floor, "this run")
    assert "6 programs timed twice" in text
    assert "0 of them would have been called changed" in text
    assert "at most 39% false alarms" in text  # Wilson's bound of 0 in 6


def test_a_control_beyond_the_threshold_counts_as_a_false_alarm():
    floor = floor_of([control(seed=1), control(ratio=1.25, seed=2)], Rules())
    assert (floor.comparisons, floor.false_alarms) == (2, 1)
    assert floor.floor == pytest.approx(0.25, abs=0.02)


def test_each_launch_gives_one_difference():
    found = list(launch_differences(control(ratio=1.1, launches=4)))
    assert len(found) == 4
    assert found == pytest.approx([math.log(1.1)] * 4, abs=0.01)
