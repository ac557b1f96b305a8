"""Seeded normal numbers in the shape of images, for any network and any number of axes."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.streams import stream
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin

COUNT = {"train": 512, "test": 128}
CLASSES = tuple("0123456789")


def load(request: DataRequest) -> Dataset:
    """Independent images with labels that say nothing; ``limit`` may ask for any number of them."""
    count = COUNT[request.split] if request.limit is None else request.limit
    generator = stream(request.seed, "inputs", f"random/{request.split}")
    images = generator.standard_normal((count, *request.image), np.float32)
    labels = generator.integers(0, len(CLASSES), count)
    return Dataset("random", request.split, images, labels, CLASSES, "drawn, no licence")


RANDOM = DatasetPlugin("random", "seeded normal numbers in any shape", ("train", "test"), load)
