"""A round shared with another process: what is timed, what is observed, and that nothing is collected meanwhile."""

from __future__ import annotations

import gc
import time

import pytest

from cnnbench.measurement.sampling import TimedCall
from cnnbench.measurement.turns import Turns

pytestmark = pytest.mark.alone


def spins(seconds: float) -> TimedCall:
    def run() -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return TimedCall(run, lambda _: None, lambda _: None)


def test_only_its_own_turns_count_as_its_time():
    turns = Turns(spins(0.01), calls_per_sample=1)
    first = turns.take(2)
    time.sleep(0.2)  # the other process's turn
    second = turns.take(3)
    assert [len(first.samples_s), len(second.samples_s)] == [2, 3]
    assert all(sample >= 0.01 for sample in first.samples_s + second.samples_s)
    observed, used_s = turns.end()
    assert observed.wall_s == pytest.approx(first.wall_s + second.wall_s)
    assert 0.05 <= observed.processor_s <= used_s
    assert observed.processor_s <= observed.wall_s + 0.01
    assert observed.machine_s is None or observed.machine_s > 0.2  # the machine's over all of the round


def test_a_sample_is_the_mean_of_its_inner_loop():
    turns = Turns(spins(0.002), calls_per_sample=5)
    turn = turns.take(1)
    turns.end()
    assert turn.wall_s >= 0.01
    assert turn.samples_s[0] == pytest.approx(turn.wall_s / 5, rel=0.2)


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_from_the_first_turn_to_the_end(collects):
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        turns = Turns(spins(0.0), calls_per_sample=1)
        assert not gc.isenabled()
        turns.take(1)
        assert not gc.isenabled()
        turns.end()
        assert gc.isenabled() is collects
    finally:
        (gc.enable if before else gc.disable)()
