"""What each step reads: the order of images in whole batches; the same on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch's images.

    Args:
        count: Of images.
        seed: Of the run.
        epoch: From 0; each has an order of its own.
    """
    return stream(seed, "batches", "", epoch).permutation(count)


def epoch_batches(count: int, batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The images of each step (steps, batch); the rest that fills no batch is left out of this epoch.

    Args:
        count: Of images.
        batch: Images a step.
        seed: Of the run.
        epoch: From 0.
    """
    steps = count // batch
    return epoch_order(count, seed, epoch)[: steps * batch].reshape(steps, batch)


def evaluation_batches(count: int, batch: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """(images, how many of them count) of batches of one size over all images; the last is filled with the first."""
    for start in range(0, count, batch):
        positions = np.arange(start, start + batch)
        yield positions % count, min(batch, count - start)
