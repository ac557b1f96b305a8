"""What each step reads: the order of images, dropout masks, whole batches; the same on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.spec.graph import Graph
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of ``count`` images for an epoch."""
    return stream(seed, "batches", "", epoch).permutation(count)


def epoch_batches(count: int, batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The images of each step (steps, batch); the rest that fills no batch is left out of this epoch."""
    steps = count // batch
    return epoch_order(count, seed, epoch)[: steps * batch].reshape(steps, batch)


def masks_of(graph: Graph, batch: int, seed: int, step: int) -> dict[str, NDArray[Any]]:
    """Dropout masks ``<node>.mask`` of a step, float32, from a stream of their own each."""
    return {
        spec.name: (stream(seed, "masks", spec.name, step).random(spec.shape) < spec.keep).astype(np.float32)
        for spec in graph.named_masks(batch)
    }


def evaluation_batches(count: int, batch: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """(images, how many of them count) of batches of one size over all images; the last is filled with the first."""
    for start in range(0, count, batch):
        positions = np.arange(start, start + batch)
        yield positions % count, min(batch, count - start)
