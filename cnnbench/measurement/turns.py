"""A round whose samples alternate with another process's: each takes one, waits until it is idle, and yields."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace

from cnnbench.measurement.observation import Observation, observe, wait_until_idle
from cnnbench.measurement.sampling import TimedCall

IDLE_STEP_S = 0.002  # a process that sleeps as long and uses a tenth of it is idle


@dataclass(frozen=True)
class Turn:
    """Args: samples_s: seconds of one call each. wall_s: of all of them. idle_after_s: until the threads rested."""

    samples_s: list[float]
    wall_s: float
    idle_after_s: float


class Turns:
    """One program's share of such a round. Python's garbage is collected before and not during."""

    def __init__(self, timed: TimedCall, calls_per_sample: int) -> None:
        self._timed, self._calls = timed, calls_per_sample
        self._wall_s = self._processor_s = 0.0
        self._collects = gc.isenabled()
        gc.collect()
        gc.disable()
        self._began_s = time.process_time()
        self._end = observe()

    def take(self, samples: int) -> Turn:
        """The next samples."""
        wall, processor = time.perf_counter(), time.process_time()
        taken = [self._timed.sample(self._calls) for _ in range(samples)]
        elapsed = time.perf_counter() - wall
        self._wall_s += elapsed
        self._processor_s += time.process_time() - processor
        return Turn(taken, elapsed, wait_until_idle(step_s=IDLE_STEP_S))

    def end(self) -> tuple[Observation, float]:
        """What was observed: ``wall_s`` and ``processor_s`` of this program's turns, the machine over all of the round.

        The second value is this process's processor time in all; ``foreign_s`` counts whoever it alternated with, whose
        own such value is to be taken off.
        """
        observed = self._end()
        if self._collects:
            gc.enable()
        return (
            replace(observed, wall_s=self._wall_s, processor_s=self._processor_s),
            time.process_time() - self._began_s,
        )
