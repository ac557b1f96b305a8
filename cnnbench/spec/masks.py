"""The masks of a training pass, drawn on the host so that every backend drops the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.graph import Graph
from cnnbench.spec.streams import stream


def masks_of(graph: Graph, batch: int, seed: int, step: int = 0) -> dict[str, NDArray[Any]]:
    """Masks of 0 and 1 in float32, by ``<node>.mask``.

    Args:
        graph: The network.
        batch: Images.
        seed: Of the run.
        step: Of the training; each has masks of its own.
    """
    return {
        spec.name: (stream(seed, "masks", spec.name, step).random(spec.shape) < spec.keep).astype(np.float32)
        for spec in graph.named_masks(batch)
    }
