"""Timed calls: warmed up to the steady state, each waited for."""

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


def unseen(result: Any, seconds: float, calls: int) -> None:
    """Takes a sample and does nothing with it.

    Args:
        result: Of its last call.
        seconds: Of all its calls.
        calls: Of it.
    """


@dataclass(frozen=True)
class TimedCall:
    """A program with its operands, as something that can be timed.

    Args:
        run: One call; it may return before its work is done.
        synchronize: Returns when the work behind a result is done.
        read: Copies a result to the host; used by the synchronisation check only.
        begun: Called before a sample, before the clock is read.
        seen: Takes the result of a sample's last call with the sample's seconds and calls, after the clock was read.
    """

    run: Callable[[], Any]
    synchronize: Callable[[Any], None]
    read: Callable[[Any], Any]
    clock: Clock = field(default_factory=Clock)
    begun: Callable[[], None] = lambda: None
    seen: Callable[[Any, float, int], None] = unseen

    def sample(self, calls: int = 1) -> float:
        """Seconds of one call: the mean of ``calls`` calls, each waited for."""
        run, synchronize, now = self.run, self.synchronize, self.clock.now
        self.begun()
        start = now()
        for _ in range(calls - 1):
            synchronize(run())
        result = run()
        synchronize(result)
        seconds = now() - start
        self.seen(result, seconds, calls)
        return seconds / calls


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
