"""Whether one more program fits into memory beside those that wait for their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.memory import available_bytes

MARGIN = 1.5  # times the most that a program has taken so far must be left for another


class MemoryHeadroom:
    """What the programs of a launch have taken so far, and whether as much is left.

    Args:
        pool: Whose workers hold the programs.
        available: Bytes that are left on this machine.
    """

    def __init__(self, pool: Pool, available: Callable[[], float] = available_bytes) -> None:
        self._pool = pool
        self._available = available
        self._most_bytes = 0

    @contextmanager
    def taken(self, spec: WorkerSpec) -> Iterator[None]:
        """Counts by how much the worker of ``spec`` grows meanwhile, from nothing where it has yet to start."""
        before = self._resident_bytes(spec)
        yield
        self._most_bytes = max(self._most_bytes, self._resident_bytes(spec) - before)

    def has_left(self) -> bool:
        """Whether another program may be started."""
        return self._available() >= MARGIN * self._most_bytes

    def _resident_bytes(self, spec: WorkerSpec) -> int:
        worker = self._pool.peek(spec)
        if worker is None or not worker.alive:
            return 0
        try:
            return int(psutil.Process(worker.pid).memory_info().rss)
        except psutil.Error:
            return 0
