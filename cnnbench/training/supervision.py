"""What each step of a training compares with, and the loss of the test images after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import HostArrays
from cnnbench.spec.passes.region_training import REGIONS, proposals_graph
from cnnbench.spec.weights import split_state
from cnnbench.training.batches import evaluation_batches
from cnnbench.training.dataset import Dataset
from cnnbench.training.evaluation import loss_of_outputs, outputs_of
from cnnbench.training.region_training import RegionTargets
from cnnbench.training.targets import purpose_of, targets_of, trained_graph
from cnnbench.training.task import TrainingTask

Arrays = Mapping[str, NDArray[Any]]


class Supervision(Protocol):
    """What a training is supervised by."""

    def of(self, positions: NDArray[np.int64], step: int) -> Arrays:
        """The program's inputs beside the images, for a batch of training images at a step (from 0)."""

    def renew(self, arrays: HostArrays) -> None:
        """Called before every epoch but the first, with the network's arrays as they stand."""

    def test_loss(self, outputs: Arrays, arrays: HostArrays) -> float:
        """The loss of the test images. Args: outputs: the network's of them. arrays: of the network."""


def supervision(task: TrainingTask, train: Dataset, test: Dataset) -> Supervision:
    """What supervises a training: targets that stand, or regions that are sampled.

    Args:
        task: The training.
        train: The images that it trains on.
        test: Those that it is measured on.

    Raises:
        SpecError: The data lack what the network learns, or do not fit it.
    """
    kind = _OfRegions if purpose_of(task.graph) == "regions" else _Standing
    return kind(task, train, test)


class _Standing:
    def __init__(self, task: TrainingTask, train: Dataset, test: Dataset) -> None:
        self._graph, self._loss = task.graph, task.settings.loss
        self._train, self._test = (targets_of(task.graph, self._loss, data) for data in (train, test))

    def of(self, positions: NDArray[np.int64], step: int) -> Arrays:
        return {name: values[positions] for name, values in self._train.items()}

    def renew(self, arrays: HostArrays) -> None:
        """Nothing: these targets stand."""

    def test_loss(self, outputs: Arrays, arrays: HostArrays) -> float:
        return loss_of_outputs(self._graph, self._loss, outputs, self._test)


class _OfRegions:
    """The loss of the test images is the mean over batches, on all anchors as proposals and one draw of samples."""

    def __init__(self, task: TrainingTask, train: Dataset, test: Dataset) -> None:
        self._task, self._images = task, (train.images, test.images)
        settings = task.settings
        self._train, self._test = (
            RegionTargets(task.graph, settings.loss, data, settings.seed) for data in (train, test)
        )
        self._whole = trained_graph(task.graph, settings.loss)[0]
        self._part = proposals_graph(task.graph)
        options = task.passes(training=False)
        self._losses = task.backend.compile_forward(self._whole, options)
        self._proposals = task.backend.compile_forward(self._part, options)

    def of(self, positions: NDArray[np.int64], step: int) -> Arrays:
        return self._train.of(positions, step)

    def renew(self, arrays: HostArrays) -> None:
        self._proposals.load(*split_state(self._part, arrays))
        batch = self._task.settings.batch
        self._train.propose(outputs_of(self._proposals, self._task.input[0], self._images[0], batch)[REGIONS])

    def test_loss(self, outputs: Arrays, arrays: HostArrays) -> float:
        self._losses.load(*split_state(self._whole, arrays))
        name, images, found = self._task.input[0], self._images[1], []
        for positions, _ in evaluation_batches(len(images), self._task.settings.batch):
            batch = {name: images[positions], **self._test.of(positions, 0)}
            result = self._losses.download(self._losses.run(self._losses.upload(batch)))
            found.append(float(result.outputs["loss"]))
        return float(np.mean(found))
