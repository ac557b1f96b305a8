"""A fixed team of threads that shares the tasks of one layer; programs hold BLAS to one thread meanwhile.

One product split over several BLAS threads meets at a barrier many times, and waits there for a descheduled
thread; a team meets once a layer. The other steps of a layer (patches, biases, activations) run in parallel too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from cnnbench_numpy import blas

Task = Callable[[int, int], None]


class Team:
    """``size`` threads, of which the caller is the first."""

    def __init__(self, size: int) -> None:
        self.size = size if blas.threads() is not None else 1  # a BLAS that cannot be held to one thread has its own
        # NumPy's warnings are a thread's own: programs take NaN and infinities without a word, as frameworks do.
        quiet = partial(np.seterr, all="ignore")
        self._pool = ThreadPoolExecutor(self.size - 1, "cnnbench-numpy", quiet) if self.size > 1 else None

    def run(self, task: Task, count: int) -> None:
        """Calls ``task(worker, i)`` once for each i below ``count``; a free worker takes the next.

        Which worker takes a task must not change what the task computes. The first exception is raised.
        """
        if self._pool is None or count == 1:
            for i in range(count):
                task(0, i)
            return
        numbers = iter(range(count))

        def work(worker: int) -> None:
            for i in numbers:  # next() on a range iterator is atomic
                task(worker, i)

        others = [self._pool.submit(work, worker) for worker in range(1, min(self.size, count))]
        try:
            work(0)
        finally:
            for other in others:
                other.result()

    def dismiss(self) -> None:
        """Ends the threads; the team runs nothing more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)


_current: list[Team] = []


def set_team(size: int) -> None:
    """Gives the process a team of this size; the threads of the one before end."""
    for old in _current:
        old.dismiss()
    _current[:] = [Team(size)]


def team() -> Team:
    """The team of the process; as many threads as it has processors until ``set_team`` says otherwise."""
    if not _current:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        set_team(available)
    return _current[0]
