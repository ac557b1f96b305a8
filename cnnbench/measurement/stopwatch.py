"""Where a run's wall time goes, by category."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

CATEGORIES = ("import", "build", "compile", "checks", "warm_up", "samples", "memory", "training", "yardsticks")


class Stopwatch:
    """Adds up seconds; what no category claims is ``other``."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds = dict.fromkeys(CATEGORIES, 0.0)

    @contextmanager
    def timing(self, category: str) -> Iterator[None]:
        """Counts its block; blocks do not nest."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(category, time.perf_counter() - start)

    def add(self, category: str, seconds: float) -> None:
        """Counts seconds that were measured elsewhere."""
        self._seconds[category] += seconds

    def seconds(self) -> dict[str, float]:
        """Every category, ``other`` and ``total``."""
        total = time.perf_counter() - self._start
        other = total - sum(self._seconds.values())
        return {name: round(value, 3) for name, value in {**self._seconds, "other": other, "total": total}.items()}
