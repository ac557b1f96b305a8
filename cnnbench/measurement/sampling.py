"""Timed calls: warmed up to the steady state, each waited for, and a check that waiting really waits."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from cnnbench.measurement.clock import Clock

SHORTEST_SAMPLE_S = 1e-3
LONGEST_INNER_LOOP = 1000
LEAST_SCALING = (
    1.4  # more than twice is a disturbed machine: work that is not waited for takes too little, never too much
)
READ_ALLOWANCE = 0.5
READ_ALLOWANCE_S = 1e-3
ATTEMPTS = 8
SETTLING_S = 0.05
LONG_CALL_S = 0.1
MOST_SETTLING_SAMPLES = 50


@dataclass(frozen=True)
class SampleSettings:
    """How calls are warmed up and sampled.

    Args:
        samples: The most samples of a round.
        min_samples: The fewest samples of a round, even where ``max_round_s`` is used up.
        max_round_s: A round takes no new sample after this many seconds.
        window: The number of samples in a warm-up window.
        tolerance: The steady state is reached when the medians of two successive windows differ by at most this
            fraction.
        max_warmup_samples, max_warmup_s: The warm-up ends here, steady or not.
    """

    samples: int = 10
    min_samples: int = 2
    max_round_s: float = 1.0
    window: int = 3
    tolerance: float = 0.1
    max_warmup_samples: int = 50
    max_warmup_s: float = 10.0


@dataclass(frozen=True)
class TimedCall:
    """A program with its operands, as something that can be timed.

    Args:
        run: One call; it may return before its work is done.
        synchronize: Returns when the work behind a result is done.
        read: Copies a result to the host; used by the synchronisation check only.
    """

    run: Callable[[], Any]
    synchronize: Callable[[Any], None]
    read: Callable[[Any], Any]
    clock: Clock = field(default_factory=Clock)

    def sample(self, calls: int = 1) -> float:
        """Seconds of one call: the mean of ``calls`` calls, each waited for."""
        run, synchronize, now = self.run, self.synchronize, self.clock.now
        start = now()
        for _ in range(calls):
            synchronize(run())
        return (now() - start) / calls


@dataclass(frozen=True)
class WarmUp:
    """A warm-up that is over.

    Args:
        calls, seconds: How much it took.
        steady: Whether the steady state was reached.
        call_s: Seconds of one call: the median of the last window.
        calls_per_sample: So many calls take ``SHORTEST_SAMPLE_S`` or more together, and make a sample.
    """

    calls: int
    seconds: float
    steady: bool
    call_s: float
    calls_per_sample: int


@dataclass(frozen=True)
class SynchronizationCheck:
    """Whether waiting for a result really waits.

    Args:
        scaling: The time of 2k calls over that of k calls, each lot waited for once: 2 where waiting waits.
        read_s: How much longer the first copy of a result to the host takes than a second copy of it.
        call_s: Seconds of one call.
        message: What is wrong; "" where ``passed``.
    """

    passed: bool
    scaling: float
    read_s: float
    call_s: float
    message: str


def warm_up(timed: TimedCall, settings: SampleSettings) -> WarmUp:
    """Calls a program until it is steady, or a limit is met.

    Args:
        timed: The program.
        settings: The windows, their tolerance, and the limits.
    """
    now = timed.clock.now
    start = now()
    first = [timed.sample(), timed.sample()]
    calls_per_sample = _calls_per_sample(min(first))
    calls = 2
    durations = first if calls_per_sample == 1 else []  # a slow program's first calls are samples like the others
    while True:
        durations.append(timed.sample(calls_per_sample))
        calls += calls_per_sample
        steady = is_steady(durations, settings.window, settings.tolerance)
        if steady or len(durations) >= settings.max_warmup_samples or now() - start >= settings.max_warmup_s:
            break
    call_s = median(durations[-settings.window :])
    return WarmUp(calls, now() - start, steady, call_s, _calls_per_sample(call_s))


def _calls_per_sample(call_s: float) -> int:
    if call_s <= 0:
        return LONGEST_INNER_LOOP
    return max(1, min(LONGEST_INNER_LOOP, math.ceil(SHORTEST_SAMPLE_S / call_s * 0.999)))


def is_steady(durations: list[float], window: int, tolerance: float) -> bool:
    """Whether the medians of the last two windows are close.

    Args:
        durations: Seconds of each sample, in order.
        window: The number of samples in a window.
        tolerance: The largest difference, as a fraction of the larger median.
    """
    if len(durations) < 2 * window:
        return False
    before = median(durations[-2 * window : -window])
    after = median(durations[-window:])
    return abs(after - before) <= tolerance * max(after, before)


def measure_round(timed: TimedCall, settings: SampleSettings, calls_per_sample: int = 1) -> list[float]:
    """The samples of a round, each in seconds of one call; Python collects no garbage meanwhile.

    Another program ran before, and so the first calls find foreign caches and sleeping threads: those of 20 ms take up
    to half as long again. So a round begins with ``SETTLING_S`` of calls that do not count. A call that takes
    ``LONG_CALL_S`` or more counts from the first: the effect on it is small, and another one is dear.

    Args:
        timed: The program, warmed up.
        settings: How many samples, and for how long.
        calls_per_sample: Each sample is the mean of so many calls.
    """
    now = timed.clock.now
    durations: list[float] = []
    with without_collection():
        durations += _settled(timed, calls_per_sample)
        end = now() + settings.max_round_s - sum(durations)
        while len(durations) < settings.samples:
            if len(durations) >= settings.min_samples and now() >= end:
                break
            durations.append(timed.sample(calls_per_sample))
    return durations


def _settled(timed: TimedCall, calls_per_sample: int) -> list[float]:
    """Calls until the caches are this program's own; the first call itself, where it is a long one."""
    end = timed.clock.now() + SETTLING_S
    first = timed.sample(calls_per_sample)
    if first * calls_per_sample >= LONG_CALL_S:
        return [first]
    for _ in range(MOST_SETTLING_SAMPLES):
        if timed.clock.now() >= end:
            break
        timed.sample(calls_per_sample)
    return []


@contextmanager
def without_collection() -> Iterator[None]:
    """Collects Python's cyclic garbage before the block, and none within it."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_synchronization(timed: TimedCall, call_s: float, *, budget_s: float = 0.05) -> SynchronizationCheck:
    """Checks that the time of a call is the time of its work.

    A ``synchronize`` that does not wait shows in two ways:

    * 2k calls that are waited for once do not take twice as long as k calls.
    * The first copy of a result to the host has to wait for the work that was left. A second copy of the same result
      shows what copying alone costs. The first may take longer by half a call or a millisecond, whichever is more.

    A busy machine can only add time, so the least time of up to ``ATTEMPTS`` attempts counts.

    Args:
        timed: The program, warmed up.
        call_s: Seconds of one call.
        budget_s: k calls take about so long.
    """
    count = max(1, min(LONGEST_INNER_LOOP, int(budget_s / call_s) if call_s > 0 else LONGEST_INNER_LOOP))
    once_s = twice_s = first_s = again_s = math.inf
    for _ in range(ATTEMPTS):
        once_s = min(once_s, _waited_once(timed, count)[0])
        elapsed, result = _waited_once(timed, 2 * count)
        twice_s = min(twice_s, elapsed)
        first_s, again_s = min(first_s, _read(timed, result)), min(again_s, _read(timed, result))
        outcome = _verdict(count, once_s, twice_s, max(0.0, first_s - again_s))
        if outcome.passed:
            break
    return outcome


def _verdict(count: int, once_s: float, twice_s: float, read_s: float) -> SynchronizationCheck:
    call_s = twice_s / (2 * count)
    scaling = twice_s / once_s if once_s > 0 else 2.0  # too short for the clock, which then says nothing
    problems = []
    if scaling < LEAST_SCALING:
        problems.append(f"{2 * count} calls took {scaling:.2f} times as long as {count}")
    if read_s > max(READ_ALLOWANCE * call_s, READ_ALLOWANCE_S):
        problems.append(f"reading the result took {read_s * 1e3:.2f} ms longer than reading it again")
    return SynchronizationCheck(not problems, scaling, read_s, call_s, "; ".join(problems))


def _read(timed: TimedCall, result: Any) -> float:
    start = timed.clock.now()
    timed.read(result)
    return timed.clock.now() - start


def _waited_once(timed: TimedCall, count: int) -> tuple[float, Any]:
    start = timed.clock.now()
    result = None
    for _ in range(count):
        result = timed.run()
    timed.synchronize(result)
    return timed.clock.now() - start, result
