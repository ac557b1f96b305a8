"""How long each stage of a detector takes, and how often its network runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class StageTimes:
    """Sums over all images.

    Args:
        seconds: Of each stage, in the order in which they first came.
        crops: How many the network saw. calls: how often it was called.
        images: How many were gone through.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    crops: int = 0
    calls: int = 0
    images: int = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
