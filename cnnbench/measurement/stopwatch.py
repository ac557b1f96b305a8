"""Where a run's wall time goes, by category."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cnnbench.measurement.clock import MACHINE, Clock

CATEGORIES = (
    "import",
    "build",
    "compile",
    "checks",
    "warm_up",
    "samples",
    "memory",
    "training",
    "yardsticks",
    "claims",
)


class Stopwatch:
    """Adds up seconds; what no category claims is ``other``."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._now = clock.now
        self._start = self._now()
        self._seconds = dict.fromkeys(CATEGORIES, 0.0)

    @contextmanager
    def timing(self, category: str) -> Iterator[None]:
        """Counts its block; blocks do not nest."""
        start = self._now()
        try:
            yield
        finally:
            self.add(category, self._now() - start)

    def add(self, category: str, seconds: float) -> None:
        """Counts seconds that were measured elsewhere."""
        self._seconds[category] += seconds

    def spent(self) -> tuple[tuple[str, float], ...]:
        """(category, seconds) of each category that has some."""
        return tuple((name, value) for name, value in self._seconds.items() if value)

    def add_all(self, spent: Iterable[tuple[str, float]]) -> None:
        """Counts what another stopwatch has ``spent``."""
        for category, seconds in spent:
            self.add(category, seconds)

    def seconds(self) -> dict[str, float]:
        """Every category, ``other`` and ``total``."""
        total = self._now() - self._start
        other = total - sum(self._seconds.values())
        return {name: round(value, 3) for name, value in {**self._seconds, "other": other, "total": total}.items()}
