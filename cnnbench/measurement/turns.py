"""Rounds in turn with another process: take some samples, wait until all threads are idle, let the other go on."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace

from cnnbench.measurement.observation import Observation, observe, wait_until_idle
from cnnbench.measurement.sampling import TimedCall

IDLE_STEP_S = 0.002  # a process that sleeps as long and uses a tenth of it is idle


@dataclass(frozen=True)
class Turn:
    """The samples that a program took in its turn.

    Args:
        samples_s: Seconds of one call, once for each sample.
        wall_s: Seconds of the turn without the wait after it.
        idle_after_s: Seconds until the process's threads were idle.
    """

    samples_s: tuple[float, ...]
    wall_s: float
    idle_after_s: float


class Turns:
    """One program's part in a round that is taken in turn. Python collects garbage before it and not during it."""

    def __init__(self, timed: TimedCall, calls_per_sample: int) -> None:
        self._timed, self._calls = timed, calls_per_sample
        self._wall_s = self._processor_s = 0.0
        self._collects = gc.isenabled()
        gc.collect()
        gc.disable()
        self._clock = timed.clock
        self._began_s = self._clock.processor()
        self._end = observe(self._clock)

    def take(self, samples: int) -> Turn:
        """The next samples."""
        wall, processor = self._clock.now(), self._clock.processor()
        taken = tuple(self._timed.sample(self._calls) for _ in range(samples))
        elapsed = self._clock.now() - wall
        self._wall_s += elapsed
        self._processor_s += self._clock.processor() - processor
        return Turn(taken, elapsed, wait_until_idle(self._clock, step_s=IDLE_STEP_S))

    def end(self) -> tuple[Observation, float]:
        """Ends the round.

        Returns:
            What was observed: ``wall_s`` and ``processor_s`` of this program's turns, the rest over the whole round.
            Its ``foreign_s`` still contains the processor time of the process that took the other turns.
            And this process's own processor time over the round, for the other to take off in the same way.
        """
        observed = self._end()
        if self._collects:
            gc.enable()
        return (
            replace(observed, wall_s=self._wall_s, processor_s=self._processor_s),
            self._clock.processor() - self._began_s,
        )
