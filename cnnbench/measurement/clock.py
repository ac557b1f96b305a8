"""Monotonic seconds from a source that tests can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """A clock.

    Args:
        now: Monotonic seconds; ``time.perf_counter`` unless replaced.
    """

    now: Callable[[], float] = time.perf_counter


class ManualClock:
    """A clock that stands still until it is told to go on.

    >>> clock = ManualClock()
    >>> clock.advance(1.5)
    >>> clock.clock.now()
    1.5
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.clock = Clock(lambda: self.seconds)

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.seconds += seconds


def now_utc() -> str:
    """Now, as records write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
