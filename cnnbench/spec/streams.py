"""Random streams keyed by (seed, purpose, name, step) and nothing else: the same on every backend and machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def stream(seed: int, purpose: str, name: str = "", step: int = 0) -> np.random.Generator:
    """A Philox generator of its own for this seed, purpose, name and step.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for: ``weights``, ``inputs``, ``masks``, ``batches``, ``augmentation`` ...
        name: Of what: a weight's or a mask's full name.
        step: When: a training step or epoch.

    The 128-bit key is the head of a SHA-256 of the four.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """
    import numpy as np

    digest = hashlib.sha256(f"{seed}\0{purpose}\0{name}\0{step}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
