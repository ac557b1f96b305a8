"""Time and waiting, from a source that tests can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """A clock, which measures, and by which one waits.

    Args:
        now: Monotonic seconds.
        sleep: Waits so many seconds.
        processor: Seconds of processor time that this process has used.
    """

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    processor: Callable[[], float] = time.process_time


MACHINE = Clock()
"""The machine's own clock."""


class ManualClock:
    """A clock that moves by ``advance`` and by sleeping alone; what was not slept counts as processor time.

    >>> clock = ManualClock()
    >>> clock.advance(1.5)
    >>> clock.clock.now()
    1.5
    """

    def __init__(self) -> None:
        self.seconds = self.slept = 0.0
        self.clock = Clock(lambda: self.seconds, self._sleep, lambda: self.seconds - self.slept)

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.seconds += seconds

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.slept += seconds


def utc_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def utc() -> datetime:
    """Now."""
    return datetime.now(UTC)


def now_utc() -> str:
    """Now, as records write it."""
    return utc().isoformat(timespec="milliseconds")
