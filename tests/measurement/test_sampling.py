"""Sampling on a clock that stands still: what is timed, when warming up ends, and lies that are found out."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from cnnbench.measurement.clock import Clock, ManualClock
from cnnbench.measurement.sampling import (
    SampleSettings,
    TimedCall,
    is_steady,
    measure_round,
    warm_up,
)
from cnnbench.measurement.synchronization import ATTEMPTS, REST_S, check_freshness, check_synchronization

pytestmark = pytest.mark.alone


class Machine:
    """A device whose calls queue up work and return at once; waiting for a result does the work."""

    def __init__(self, seconds, *, dispatch=0.0, waits=True, lazy=False, copying=0.0):
        self.time = ManualClock()
        self.seconds = seconds if callable(seconds) else lambda call: seconds
        self.dispatch, self.waits, self.lazy, self.copying = dispatch, waits, lazy, copying
        self.calls = 0
        self.pending = 0.0

    def run(self):
        self.time.advance(self.dispatch)
        work = self.seconds(self.calls)
        self.pending = work if self.lazy else self.pending + work
        self.calls += 1
        return self

    def finish(self, _result=None):
        self.time.advance(self.pending)
        self.pending = 0.0

    def read(self, result=None):
        self.finish(result)
        self.time.advance(self.copying)
        return {}, dict.fromkeys(range(200), np.zeros(1))  # outputs, and the statistics of a hundred batch norms

    def timed(self):
        return TimedCall(self.run, self.finish if self.waits else lambda _: None, self.read, self.time.clock)


def test_a_sample_is_the_time_of_one_call_waited_for():
    machine = Machine(0.25, dispatch=0.01)
    assert machine.timed().sample() == pytest.approx(0.26)
    assert machine.timed().sample(calls=4) == pytest.approx(0.26)
    assert machine.calls == 5


def test_warming_up_ends_when_two_windows_agree():
    machine = Machine(lambda call: 1.0 if call < 4 else 0.1)
    result = warm_up(machine.timed(), SampleSettings(window=3, tolerance=0.05, max_warmup_s=100))
    assert result.steady
    assert result.call_s == pytest.approx(0.1)
    assert result.calls == 4 + 6 - 1  # the windows agree once a slow call is no longer a window's median
    assert result.calls_per_sample == 1


def test_the_first_calls_of_a_slow_program_are_samples_and_those_of_a_quick_one_are_not():
    slow, quick = Machine(0.4), Machine(50e-6)
    assert warm_up(slow.timed(), SampleSettings(window=2)).calls == 4
    assert warm_up(quick.timed(), SampleSettings(window=2)).calls == 2 + 4 * 20


def test_calls_that_never_settle_end_at_the_limits_and_say_so():
    growing = Machine(lambda call: 0.01 * 1.5**call)
    by_count = warm_up(growing.timed(), SampleSettings(max_warmup_samples=8, max_warmup_s=1e9))
    assert not by_count.steady
    assert by_count.calls == 8
    slow = Machine(lambda call: 4.0 if call % 2 else 1.0)
    by_time = warm_up(slow.timed(), SampleSettings(window=1, tolerance=0.01, max_warmup_s=9.0))
    assert not by_time.steady
    assert 9.0 <= by_time.seconds <= 13.0


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([1, 1, 1, 1, 1], False),  # not two windows yet
        ([1, 1, 1, 1, 1, 1], True),
        ([1, 1, 1, 1.04, 1.04, 9], True),  # one outlier is not a trend
        ([1, 1, 1, 1.2, 1.2, 1.2], False),
        ([9, 9, 9, 1, 1, 1, 1, 1, 1], True),
    ],
)
def test_steadiness_compares_medians_of_windows(durations, expected):
    assert is_steady(durations, 3, 0.05) is expected


def test_short_calls_are_timed_in_inner_loops_and_normalised():
    machine = Machine(50e-6)
    result = warm_up(machine.timed(), SampleSettings())
    assert result.calls_per_sample == 20
    assert measure_round(machine.timed(), SampleSettings(samples=3), 20) == pytest.approx([50e-6] * 3)


def test_a_clock_too_coarse_for_a_call_does_not_divide_by_zero():
    machine = Machine(0.0)
    assert warm_up(machine.timed(), SampleSettings()).calls_per_sample == 1000
    assert check_synchronization(machine.timed(), 0.0).scaling > 0


def test_a_round_ends_by_count_or_by_time_but_not_before_its_least():
    assert len(measure_round(Machine(0.1).timed(), SampleSettings(samples=4, max_round_s=60))) == 4
    assert len(measure_round(Machine(0.1).timed(), SampleSettings(samples=50, max_round_s=0.45))) == 5
    assert len(measure_round(Machine(9.0).timed(), SampleSettings(samples=50, min_samples=2, max_round_s=1))) == 2


def test_the_first_calls_of_a_round_do_not_count_unless_they_are_long():
    """Caches and threads are another program's: the first 50 ms of calls take half as long again."""
    machine = Machine(lambda call: 0.030 if call < 2 else 0.020)
    assert measure_round(machine.timed(), SampleSettings(samples=4)) == pytest.approx([0.020] * 4)
    assert machine.calls == 2 + 4
    long = Machine(lambda call: 0.13 if call < 1 else 0.12)
    assert measure_round(long.timed(), SampleSettings(samples=3)) == pytest.approx([0.13, 0.12, 0.12])
    assert len(measure_round(Machine(0.0).timed(), SampleSettings(samples=3), 1000)) == 3


def test_no_garbage_is_collected_during_a_round_and_the_collector_is_put_back():
    seen = []
    machine = Machine(lambda call: seen.append(gc.isenabled()) or 0.1)
    assert gc.isenabled()
    measure_round(machine.timed(), SampleSettings(samples=2))
    assert seen == [False, False]
    assert gc.isenabled()


def test_honest_waiting_passes_the_check():
    check = check_synchronization(Machine(0.02, dispatch=1e-4).timed(), 0.02)
    assert check.passed
    assert check.scaling == pytest.approx(2.0)
    assert check.read_s == 0.0


def test_waiting_that_does_not_wait_is_found_by_the_forced_read():
    check = check_synchronization(Machine(0.02, dispatch=1e-4, waits=False).timed(), 1e-4)
    assert not check.passed
    assert "longer than reading" in check.message


@pytest.mark.parametrize(("waits", "passes"), [(True, True), (False, False)])
def test_what_copying_costs_is_no_waiting(waits, passes):
    """A graph of a hundred batch norms has two hundred running statistics to read, which takes longer than a call."""
    check = check_synchronization(Machine(0.004, copying=0.01, waits=waits).timed(), 0.004)
    assert check.passed == passes
    assert check.read_s == pytest.approx(0.0 if waits else (12 + 24) * 0.004)


def test_work_that_is_done_once_however_often_it_is_asked_for_is_found_by_the_scaling():
    check = check_synchronization(Machine(0.02, lazy=True).timed(), 0.005)
    assert not check.passed
    assert check.scaling == pytest.approx(1.0)
    assert "times as long" in check.message


def test_one_disturbed_attempt_is_forgiven():
    machine = Machine(lambda call: 0.5 if call == 0 else 0.01)
    assert check_synchronization(machine.timed(), 0.01).passed
    assert machine.calls == 2 * (5 + 10)


def test_a_machine_that_slows_down_meanwhile_is_no_proof_of_anything():
    machine = Machine(lambda call: 0.01 if call % 15 < 5 else 0.03)
    assert check_synchronization(machine.timed(), 0.01).passed


@pytest.mark.parametrize("lazy", [False, True])
def test_a_machine_that_is_quiet_now_and_then_calls_no_honest_waiting_wrong_and_no_other_right(lazy):
    """Other processes take turns of 0.4 s on average; each leaves a third of a processor, as in tests side by side."""
    passed = 0
    for seed in range(60):
        stretches = np.random.default_rng(seed)
        machine = Machine(0.0, lazy=lazy)
        busy = [False, 0.0]  # and until when

        def seconds(call, machine=machine, busy=busy, stretches=stretches):
            while machine.time.clock.now() >= busy[1]:
                busy[:] = [not busy[0], busy[1] + stretches.exponential(0.4)]
            return 0.003 if busy[0] else 0.001

        machine.seconds = seconds
        passed += check_synchronization(machine.timed(), 0.001).passed
    assert passed == (0 if lazy else 60)


def test_one_quiet_moment_among_many_busy_ones_is_no_proof_of_anything():
    machine = Machine(lambda call: 0.01 if 5 <= call < 15 else 0.02 if call < 5 else 0.05)
    assert check_synchronization(machine.timed(), 0.01).passed


def test_the_default_clock_is_monotonic_and_runs():
    now = Clock().now
    readings = [now() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[-1] > readings[0]


@pytest.mark.parametrize(("kept_s", "passes"), [(0.01, True), (0.006, True), (1e-6, False)])
def test_results_that_are_kept_are_found_by_the_processor_time_of_new_inputs(kept_s, passes):
    """Twenty inputs, fed four at a time: each is called twice."""
    machine = Machine(lambda call: 0.01 if call % 8 < 4 else kept_s)
    fed = []

    def feed():
        fed.append(4)
        return 4

    check = check_freshness(machine.timed(), feed)
    assert check.passed == passes
    assert check.new_s == pytest.approx(0.01)
    assert check.again_s == pytest.approx(kept_s)
    assert len(fed) == (1 if passes else ATTEMPTS)
    assert machine.time.slept == pytest.approx(2 * len(fed) * REST_S)
    assert ("results are kept" in check.message) == (not passes)


def test_one_disturbed_attempt_and_no_new_inputs_are_no_lie():
    machine = Machine(lambda call: 1.0 if call == 0 else 0.01)
    assert check_freshness(machine.timed(), lambda: 1).passed
    assert check_freshness(machine.timed(), lambda: 0).passed
