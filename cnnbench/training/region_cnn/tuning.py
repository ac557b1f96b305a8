"""Trains R-CNN's network as a classifier of warped regions, before its features serve linear classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.streams import stream
from cnnbench.training.dataset import Dataset
from cnnbench.training.decoders.boxes import overlaps
from cnnbench.training.loop import train
from cnnbench.training.region_cnn.crops import warped
from cnnbench.training.region_cnn.detector import Proposer
from cnnbench.training.task import TrainingTask

Array = NDArray[Any]
OBJECT = 0.5  # a region that overlaps an object by as much counts as one
BACKGROUND_SHARE = 3  # regions of background for each that counts as an object


@dataclass(frozen=True, eq=False)
class CropTask(TrainingTask):
    """A training on crops that are held in memory. Args: crops: for training. tested: for evaluation."""

    crops: Dataset | None = None
    tested: Dataset | None = None

    def data(self, split: str) -> Dataset:
        """The crops of a split."""
        found = self.crops if split == "train" else self.tested
        assert found is not None
        return found


def region_crops(dataset: Dataset, proposer: Proposer, size: tuple[int, int], seed: int = 0) -> Dataset:
    """Warped regions with their classes, background first: the objects themselves, and what is proposed.

    A region has the class of the object that it overlaps most, where that is 0.5 or more. Of the others three are
    drawn for each of these.

    Args:
        dataset: With the truth ``boxes`` and ``box_classes``.
        proposer: (C, H, W) -> (R, 4) boxes.
        size: Height and width of the crops.
        seed: Of what is drawn.

    Source: arXiv:1311.2524, section 2.3: 32 windows of objects and 96 of background in a batch.
    """
    crops: list[Array] = []
    labels: list[Array] = []
    for place, image in enumerate(dataset.images):
        classes = dataset.truth["box_classes"][place]
        own = np.asarray(dataset.truth["boxes"][place][classes >= 0], np.float64)
        regions = np.concatenate([own, proposer(image)])
        shared = overlaps(regions, own)
        if not shared.size:
            continue
        known = np.where(shared.max(1) >= OBJECT, classes[classes >= 0][shared.argmax(1)] + 1, 0)
        objects, rest = np.flatnonzero(known), np.flatnonzero(known == 0)
        rest = stream(seed, "regions", str(place)).permutation(rest)[: BACKGROUND_SHARE * len(objects)]
        chosen = np.concatenate([objects, rest])
        crops.append(warped(image, regions[chosen], size))
        labels.append(known[chosen])
    return replace(
        dataset,
        images=np.concatenate(crops),
        labels=np.concatenate(labels).astype(np.int64),
        classes=("background", *dataset.classes),
        truth={},
        names={},
    )


def tuned(task: TrainingTask, data: Mapping[str, Dataset], proposer: Proposer) -> Mapping[str, Array]:
    """The network's arrays after training on crops.

    Args:
        task: The network, its first weights, and how it is trained.
        data: The datasets ``train`` and ``test``, with their boxes.
        proposer: (C, H, W) -> (R, 4) boxes.
    """
    size = (task.input[1][1], task.input[1][2])
    crops, tested = (region_crops(data[split], proposer, size, task.settings.seed) for split in ("train", "test"))
    result = train(
        CropTask(task.backend, task.graph, task.arrays, task.settings, task.options, crops=crops, tested=tested)
    )
    return {**result.final.weights, **result.final.state}
