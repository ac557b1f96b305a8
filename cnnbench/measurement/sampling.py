"""Timed calls: always synchronised, warmed up until steady, and checked for synchronisation that does not wait."""

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


@dataclass(frozen=True)
class SampleSettings:
    """How calls are warmed up and sampled.

    Args:
        samples: Most samples of a round. min_samples: least, even where ``max_round_s`` is spent.
        max_round_s: A round ends after this many seconds.
        window: Samples of a warm-up window.
        tolerance: The steady state is reached when two successive windows' medians differ by no more than this
            fraction.
        max_warmup_samples, max_warmup_s: Where waiting for it ends.
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
    """What warming up took.

    Args:
        call_s: Median of the last window. steady: whether two windows agreed.
        calls_per_sample: So many calls make a sample of ``SHORTEST_SAMPLE_S`` or more.
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
        scaling: Time of 2k calls over time of k calls, waited for once: 2 for honest work.
        read_s: What the first reading of a result takes longer than a second one of the same result.
        call_s: One call.
    """

    passed: bool
    scaling: float
    read_s: float
    call_s: float
    message: str


def warm_up(timed: TimedCall, settings: SampleSettings) -> WarmUp:
    """Calls until two successive windows agree, or a limit is met."""
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
    """Whether the medians of the last two windows differ by at most ``tolerance`` of the larger."""
    if len(durations) < 2 * window:
        return False
    before = median(durations[-2 * window : -window])
    after = median(durations[-window:])
    return abs(after - before) <= tolerance * max(after, before)


def measure_round(timed: TimedCall, settings: SampleSettings, calls_per_sample: int = 1) -> list[float]:
    """Seconds of one call, once for each sample of a round; no garbage is collected meanwhile."""
    now = timed.clock.now
    durations: list[float] = []
    with without_collection():
        end = now() + settings.max_round_s
        while len(durations) < settings.samples:
            if len(durations) >= settings.min_samples and now() >= end:
                break
            durations.append(timed.sample(calls_per_sample))
    return durations


@contextmanager
def without_collection() -> Iterator[None]:
    """Python's cyclic garbage is collected before and not during."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_synchronization(timed: TimedCall, call_s: float, *, budget_s: float = 0.05) -> SynchronizationCheck:
    """Proves that the time of a call is the time of its work.

    2k calls that are waited for once must take about twice as long as k, and the first read of a result must take no
    more than half a call (or a millisecond) longer than a second one, which has nothing to wait for: what copying
    costs by itself (a graph of a hundred batch norms has two hundred running statistics) says nothing. k is what fits
    ``budget_s``. A machine that is busy with other things gets ``ATTEMPTS`` chances: the least time of each kind
    counts, because disturbances only add.
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
    scaling = twice_s / once_s if once_s > 0 else math.inf
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
