"""Whether what is timed is the work: waiting really waits, and an input that was seen before costs the same."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from cnnbench.measurement.sampling import LONGEST_INNER_LOOP, TimedCall

LEAST_SCALING = 1.4  # work that is not waited for takes too little
MOST_SCALING = 2.8  # of an attempt that proves something: more than twice is a disturbed machine
READ_ALLOWANCE = 0.5
READ_ALLOWANCE_S = 1e-3
COPYING_S = 50e-6
COPIED_PER_S = 0.5e9
MOST_READS = 16
ATTEMPTS = 20  # one is enough on a quiet machine
FRESHNESS_RATIO = 2.0
FRESHNESS_S = 5e-6  # a call, that memory which was not read before may cost
REST_S = 2e-3


@dataclass(frozen=True)
class SynchronizationCheck:
    """Whether waiting for a result really waits.

    Args:
        scaling: The time of 2k calls over that of k calls, each lot waited for once: 2 where waiting waits.
        read_s: How much longer the first copies of some results to the host take than second copies of them.
        call_s: Seconds of one call.
        message: What is wrong; "" where ``passed``.
    """

    passed: bool
    scaling: float
    read_s: float
    call_s: float
    message: str


@dataclass(frozen=True)
class FreshnessCheck:
    """Whether a call costs the same on an input that was called before.

    Args:
        new_s, again_s: Processor time of a call on a new input, and on the same once more.
        message: What is wrong; "" where ``passed``.
    """

    passed: bool
    new_s: float
    again_s: float
    message: str


def check_synchronization(timed: TimedCall, call_s: float, *, budget_s: float = 0.05) -> SynchronizationCheck:
    """Checks that the time of a call is the time of its work.

    A ``synchronize`` that does not wait shows in three ways:

    * 2k calls that are waited for once do not take twice as long as k calls.
    * The first copies of results to the host have to wait for the work that was left. Second copies of the same results
      show what copying alone costs. The first may take longer by half a call each, and by a millisecond in all.
    * Copying a result takes longer than the call, where the work is done anew at each copy. ``COPYING_S`` for each
      array and the time of ``COPIED_PER_S`` bytes are the cost of copying itself.

    Results of short calls are copied in lots, so that work of a tenth of a millisecond shows.
    A busy machine can only add time, so the least time of up to ``ATTEMPTS`` attempts counts. Where it becomes quiet
    for one of them, that alone may be the least; so the median ratio of the lots that were timed one after the other
    counts too.

    Args:
        timed: The program, warmed up.
        call_s: Seconds of one call.
        budget_s: k calls take about so long.
    """
    count = max(1, min(LONGEST_INNER_LOOP, int(budget_s / call_s) if call_s > 0 else LONGEST_INNER_LOOP))
    first_s = again_s = math.inf
    lots = _Lots(count)
    for _ in range(ATTEMPTS):
        once_s, _results = _waited_once(timed, count)
        twice_s, results = _waited_once(timed, 2 * count)
        lots.add(once_s, twice_s)
        first_s, again_s = min(first_s, _read(timed, results)), min(again_s, _read(timed, results))
        copying_s = _copying_s(timed.read(results[-1]))
        outcome = _verdict(lots, _Reads(len(results), first_s, again_s, copying_s))
        if outcome.passed and outcome.scaling <= MOST_SCALING:
            break
    return outcome


class _Lots:
    """Seconds of k calls and of 2k calls, each lot waited for once, in the attempts so far."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.once_s = self.twice_s = math.inf
        self._ratios: list[float] = []

    def add(self, once_s: float, twice_s: float) -> None:
        """Takes one attempt in."""
        self.once_s, self.twice_s = min(self.once_s, once_s), min(self.twice_s, twice_s)
        self._ratios.append(_ratio(once_s, twice_s))

    @property
    def scaling(self) -> float:
        """Of the least times, or the median of the attempts' where that is larger."""
        return max(_ratio(self.once_s, self.twice_s), median(self._ratios))


def _ratio(once_s: float, twice_s: float) -> float:
    return twice_s / once_s if once_s > 0 else 2.0  # too short for the clock, which then says nothing


@dataclass(frozen=True)
class _Reads:
    """Seconds of copying so many results to the host for the first time, and again; what copying one may cost."""

    count: int
    first_s: float
    again_s: float
    allowed_s: float


def _copying_s(result: Any) -> float:
    """What copying a host result may cost."""
    arrays = [array for group in (result if isinstance(result, tuple) else ()) for array in group.values()]
    return COPYING_S * (2 + len(arrays)) + sum(int(array.nbytes) for array in arrays) / COPIED_PER_S


def _verdict(lots: _Lots, reads: _Reads) -> SynchronizationCheck:
    count, scaling = lots.count, lots.scaling
    call_s = lots.twice_s / (2 * count)
    read_s = max(0.0, reads.first_s - reads.again_s)
    problems = []
    if scaling < LEAST_SCALING:
        problems.append(f"{2 * count} calls took {scaling:.2f} times as long as {count}")
    if read_s > max(READ_ALLOWANCE * call_s * reads.count, READ_ALLOWANCE_S):
        each = "the result" if reads.count == 1 else f"{reads.count} results"
        again = "it" if reads.count == 1 else "them"
        problems.append(f"reading {each} took {read_s * 1e3:.2f} ms longer than reading {again} again")
    copying_s = reads.again_s / reads.count
    if copying_s > max(call_s, reads.allowed_s):
        problems.append(f"reading a result took {copying_s * 1e3:.2f} ms each time, and a call {call_s * 1e3:.3f} ms")
    return SynchronizationCheck(not problems, scaling, read_s, call_s, "; ".join(problems))


def _read(timed: TimedCall, results: list[Any]) -> float:
    start = timed.clock.now()
    for result in results:
        timed.read(result)
    return timed.clock.now() - start


def _waited_once(timed: TimedCall, count: int) -> tuple[float, list[Any]]:
    """Seconds of so many calls, and the results of the last of them."""
    start = timed.clock.now()
    results: deque[Any] = deque(maxlen=MOST_READS)
    for _ in range(count):
        results.append(timed.run())
    timed.synchronize(results[-1])
    return timed.clock.now() - start, list(results)


def check_freshness(timed: TimedCall, feed: Callable[[], int]) -> FreshnessCheck:
    """Checks that a call on an input that was called before does the work of one on an input that is new.

    Where results are kept it does not, and its processor time shows that, even if the program then waits. (A busy
    machine adds to the time by the clock, and most after the work of making inputs, but not to processor time.)
    The least of up to ``ATTEMPTS`` attempts counts, each on new inputs.

    Args:
        timed: The program, warmed up; it goes round over the inputs that ``feed`` makes.
        feed: Makes new inputs; returns how many, and 0 where there are no more.
    """
    outcome = FreshnessCheck(True, 0.0, 0.0, "")
    new_s = again_s = math.inf
    for _ in range(ATTEMPTS):
        count = feed()
        if not count:
            break
        new_s = min(new_s, _used(timed, count))
        again_s = min(again_s, _used(timed, count))
        outcome = _freshness(new_s, again_s, count)
        if outcome.passed:
            break
    return outcome


def _used(timed: TimedCall, count: int) -> float:
    """Processor time of so many calls, after threads that spin have become idle."""
    timed.clock.sleep(REST_S)
    start = timed.clock.processor()
    for _ in range(count):
        timed.synchronize(timed.run())
    return timed.clock.processor() - start


def _freshness(new_s: float, again_s: float, count: int) -> FreshnessCheck:
    passed = new_s <= FRESHNESS_RATIO * again_s + count * FRESHNESS_S
    message = ""
    if not passed:
        new, again = (f"{used_s / count * 1e6:.1f} us" for used_s in (new_s, again_s))
        message = f"a call uses {new} of processor time on a new input and {again} on one seen before: results are kept"
    return FreshnessCheck(passed, new_s / count, again_s / count, message)
