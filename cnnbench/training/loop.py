"""The training loop: one backend's step program on batches, masks and rates that are the same for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench.errors import DataError, SpecError
from cnnbench.execution.host import HostTraining
from cnnbench.measurement.clock import Clock
from cnnbench.spec.masks import masks_of
from cnnbench.spec.weights import check_fits, split_state
from cnnbench.training import checkpoints
from cnnbench.training.batches import epoch_batches, evaluation_batches
from cnnbench.training.checkpoints import Checkpoint
from cnnbench.training.epoch import Epoch
from cnnbench.training.evaluation import host_loss
from cnnbench.training.task import TrainingTask


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a run gives.

    Args:
        losses: Of each step, before its update. epochs: what each came to.
        predictions, targets: Of the test images after the last epoch (N,).
        final: Weights, running statistics and slots at the end.
    """

    losses: tuple[float, ...]
    epochs: tuple[Epoch, ...]
    predictions: tuple[int, ...]
    targets: tuple[int, ...]
    final: HostTraining

    @property
    def test_accuracy(self) -> float | None:
        """The share of test images whose class is predicted after the last epoch."""
        return self.epochs[-1].test_accuracy


OnEpoch = Callable[[Epoch], None]
OnStep = Callable[[int, float], None]


def train(
    task: TrainingTask,
    *,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
    checkpoint: Path | None = None,
) -> TrainingResult:
    """Trains a network, and evaluates it after each epoch.

    Args:
        task: What is trained, by whom and how.
        on_epoch: Called with each epoch's result.
        on_step: Called with each step's number (from 1) and its loss.
        checkpoint: A file that is written after each epoch, and continued from where it is there.

    Raises:
        SpecError: The network does not take the data.
        DataError: The arrays or the checkpoint do not fit.
    """
    run = _Run(task)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    while run.epoch < task.settings.epochs:
        result = run.one_epoch(on_step)
        if checkpoint is not None:
            checkpoints.save(run.checkpoint(), checkpoint)
        if on_epoch is not None:
            on_epoch(result)
    return run.result()


def losses_until(
    task: TrainingTask, enough: Callable[[int, float], bool], *, on_step: OnStep | None = None
) -> tuple[float, ...]:
    """The losses of a training without evaluation, up to the first step after which ``enough`` is true.

    Args:
        task: What is trained, by whom and how.
        enough: Called after each step with its number (from 1) and its loss.
        on_step: Called before it with the same.

    Raises:
        SpecError: The network does not take the data.
        DataError: The arrays do not fit.
    """
    run = _Run(task)
    for epoch in range(task.settings.epochs):
        for step, loss, _ in run.steps(epoch):
            if on_step is not None:
                on_step(step, loss)
            if enough(step, loss):
                return tuple(run.losses)
    return tuple(run.losses)


class _Run:
    """The state of one training."""

    def __init__(self, task: TrainingTask) -> None:
        check_fits(task.graph, task.arrays, where="training")
        self.task, self.graph, self.settings = task, task.graph, task.settings
        self.input_name = task.input[0]
        self.train_data, self.test_data = task.data("train"), task.data("test")
        self.steps_per_epoch = len(self.train_data) // self.settings.batch
        if not self.steps_per_epoch:
            raise SpecError(
                "the batch is larger than the training data",
                received=f"batch {self.settings.batch}",
                expected=f"at most {len(self.train_data)}",
            )
        self.num_outputs = task.num_outputs(self.train_data)
        loss, optimizer = self.settings.loss, self.settings.optimizer
        self.program = task.backend.compile_step(self.graph, task.passes(training=True), loss, optimizer)
        self.program.load(*split_state(self.graph, task.arrays))
        self.evaluation = task.backend.compile_forward(self.graph, task.passes(training=False))
        self.clock = Clock()
        self.epoch = 0
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.predictions: Any = None
        self.training = self.program.snapshot()

    def restore(self, path: Path) -> None:
        """Goes on from a checkpoint. Raises DataError where it is one of something else."""
        found = checkpoints.load(path)
        if found.task != self.task.digest:
            raise DataError(
                "the checkpoint is of another training: backend, network, initial arrays, settings or options differ",
                where=str(path),
                remedy="delete it to start anew, or give another file",
            )
        self.training = found.training
        self.losses, self.epochs = list(found.losses), list(found.epochs)
        self.epoch = len(self.epochs)
        self.program.load(found.training.weights, found.training.state, found.training.slots)

    def checkpoint(self) -> Checkpoint:
        """Where the run stands."""
        return Checkpoint(self.task.digest, self.training, tuple(self.losses), tuple(self.epochs))

    def one_epoch(self, on_step: OnStep | None) -> Epoch:
        """Trains one epoch and evaluates."""
        seconds, first = 0.0, len(self.losses)
        for step, loss, taken in self.steps(self.epoch):
            seconds += taken
            if on_step is not None:
                on_step(step, loss)
        self.epoch += 1
        self.training = self.program.snapshot()
        test_loss, self.predictions = self._evaluate()
        accuracy = float(np.mean(self.predictions == self.test_data.labels))
        train_loss = math.fsum(self.losses[first:]) / self.steps_per_epoch
        result = Epoch(
            epoch=self.epoch,
            step=len(self.losses),
            train_loss=train_loss,
            test_loss=test_loss,
            test_accuracy=accuracy,
            seconds=seconds,
        )
        self.epochs.append(result)
        return result

    def steps(self, epoch: int) -> Iterator[tuple[int, float, float]]:
        """Takes an epoch's steps: (number from 1, loss, seconds) of each."""
        settings, images, labels = self.settings, self.train_data.images, self.train_data.labels
        draws = settings.augmentation.draw(len(labels), settings.seed, epoch)
        for positions in epoch_batches(len(labels), settings.batch, settings.seed, epoch):
            step = len(self.losses)
            batch = {
                self.input_name: draws.apply(images[positions], positions),
                "targets": self._targets(labels[positions]),
                **masks_of(self.graph, settings.batch, settings.seed, step),
            }
            start = self.clock.now()
            rate = settings.rate(step, self.steps_per_epoch)
            self.losses.append(self.program.loss(self.program.run(self.program.upload(batch), rate)))
            yield step + 1, self.losses[-1], self.clock.now() - start

    def result(self) -> TrainingResult:
        """The run's result; a resumed run that was finished is evaluated for its predictions."""
        predictions = self._evaluate()[1] if self.predictions is None else self.predictions
        labels = self.test_data.labels
        return TrainingResult(
            tuple(self.losses), tuple(self.epochs), tuple(map(int, predictions)), tuple(map(int, labels)), self.training
        )

    def _evaluate(self) -> tuple[float, Any]:
        """(mean loss, predicted classes) of the test images with the current weights."""
        images, labels = self.test_data.images, self.test_data.labels
        self.evaluation.load(self.training.weights, self.training.state)
        outputs = []
        main = self.graph.outputs[0][0]
        for positions, count in evaluation_batches(len(labels), self.settings.batch):
            operands = self.evaluation.upload({self.input_name: images[positions]})
            found = self.evaluation.download(self.evaluation.run(operands))
            outputs.append(np.asarray(found.outputs[main][:count], np.float64))
        values = np.concatenate(outputs)
        return host_loss(self.settings.loss, values, self._targets(labels)), values.argmax(axis=1)

    def _targets(self, labels: Any) -> Any:
        """Labels for a loss of classes, indicator vectors for a loss on values."""
        if self.settings.loss.int_targets:
            return labels
        return np.eye(self.num_outputs, dtype=np.float32)[labels]
