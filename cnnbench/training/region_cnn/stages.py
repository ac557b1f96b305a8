"""How long each stage of a detector takes, and how often its network runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cnnbench.measurement.clock import MACHINE, Clock


@dataclass
class StageTimes:
    """Sums over all images.

    Args:
        seconds: Of each stage, in the order in which they first came.
        crops: How many the network saw. calls: how often it was called.
        images: How many were gone through.
        clock: By which stages take time.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    crops: int = 0
    calls: int = 0
    images: int = 0
    clock: Clock = MACHINE

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block."""
        start = self.clock.now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock.now() - start
