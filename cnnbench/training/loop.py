"""The training loop: one backend's step program on batches, masks and rates that are the same for all."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.errors import DataError, SpecError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostTraining
from cnnbench.measurement.clock import Clock
from cnnbench.spec.graph import Graph
from cnnbench.spec.weights import check_fits, digest, split_state
from cnnbench.training import checkpoints
from cnnbench.training.batches import epoch_batches, evaluation_batches, masks_of
from cnnbench.training.checkpoints import Checkpoint
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.epoch import Epoch
from cnnbench.training.evaluation import host_loss
from cnnbench.training.settings import TrainSettings

if TYPE_CHECKING:
    from cnnbench.execution.host import HostArrays

__all__ = ["Epoch", "OnEpoch", "OnStep", "TrainSettings", "TrainingResult", "train"]


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
    def test_accuracy(self) -> float:
        """The share of test images whose class is predicted after the last epoch."""
        return self.epochs[-1].test_accuracy


OnEpoch = Callable[[Epoch], None]
OnStep = Callable[[int, float], None]


def train(
    backend: Backend,
    graph: Graph,
    arrays: HostArrays,
    settings: TrainSettings,
    options: ProgramOptions,
    *,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
    checkpoint: Path | None = None,
) -> TrainingResult:
    """Trains a network, evaluating it after each epoch.

    Args:
        backend: Who trains it.
        graph: A classifier of one input; its main output is (N, classes).
        arrays: Initial weights and running statistics by full name.
        settings: Data, rates, seed and the rest.
        options: Mode, precision and layout; the passes are training passes whatever it says, evaluation is inference.
        on_epoch: Is told each epoch's result.
        on_step: Is told each step (from 1) and its loss.
        checkpoint: A file that is written after each epoch, and continued from where it is there.

    Raises:
        SpecError: The network does not take the data. DataError: the arrays or the checkpoint do not fit.
    """
    run = _Run(backend, graph, arrays, settings, options)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    while run.epoch < settings.epochs:
        result = run.one_epoch(on_step)
        if checkpoint is not None:
            checkpoints.save(run.checkpoint(), checkpoint)
        if on_epoch is not None:
            on_epoch(result)
    return run.result()


def losses_until(
    backend: Backend,
    graph: Graph,
    arrays: HostArrays,
    settings: TrainSettings,
    options: ProgramOptions,
    enough: Callable[[int, float], bool],
    *,
    on_step: OnStep | None = None,
) -> tuple[float, ...]:
    """The losses of a training that nobody evaluates, up to the first step after which it is enough.

    Args:
        backend: Who trains it.
        graph: A classifier of one input, as for ``train``.
        arrays: Initial weights and running statistics by full name.
        settings: Data, rates, seed and the rest.
        options: Mode, precision and layout.
        enough: Asked after each step (from 1) with its loss; what it says yes to is the last step.
        on_step: Is told each step and its loss.

    Raises:
        SpecError, DataError: As for ``train``.
    """
    run = _Run(backend, graph, arrays, settings, options)
    for epoch in range(settings.epochs):
        for step, loss, _ in run.steps(epoch):
            if on_step is not None:
                on_step(step, loss)
            if enough(step, loss):
                return tuple(run.losses)
    return tuple(run.losses)


class _Run:
    """The state of one training."""

    def __init__(
        self, backend: Backend, graph: Graph, arrays: HostArrays, settings: TrainSettings, options: ProgramOptions
    ) -> None:
        check_fits(graph, arrays, where="training")
        self.graph, self.settings = graph, settings
        self.input_name, image = _input_of(graph, settings)
        self.train_data = _data(settings, image, "train", settings.train_images)
        self.test_data = _data(settings, image, "test", settings.test_images)
        self.steps_per_epoch = len(self.train_data) // settings.batch
        if not self.steps_per_epoch:
            raise SpecError(
                "the batch is larger than the training data",
                received=f"batch {settings.batch}",
                expected=f"at most {len(self.train_data)}",
            )
        self.num_outputs = _num_outputs(graph, self.train_data)
        passes = _options(options, training=True)
        self.program = backend.compile_step(graph, passes, settings.loss, settings.optimizer)
        self.program.load(*split_state(graph, arrays))
        self.evaluation = backend.compile_forward(graph, _options(options, training=False))
        asked = (backend.name, graph.digest, digest(arrays), repr(settings), repr(passes))
        self.task = hashlib.sha256("\0".join(asked).encode()).hexdigest()
        self.clock = Clock()
        self.epoch = 0
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.predictions: Any = None
        self.training = self.program.snapshot()

    def restore(self, path: Path) -> None:
        """Goes on from a checkpoint. Raises DataError where it is one of something else."""
        found = checkpoints.load(path)
        if found.task != self.task:
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
        return Checkpoint(self.task, self.training, tuple(self.losses), tuple(self.epochs))

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


def _options(options: ProgramOptions, *, training: bool) -> ProgramOptions:
    return replace(options, training=training, fold_batch_norm=False)


def _input_of(graph: Graph, settings: TrainSettings) -> tuple[str, tuple[int, ...]]:
    """(name, image shape) of the network's only input. Raises SpecError where that is not what the data give."""
    if len(graph.inputs) != 1 or not graph.inputs[0].batched:
        raise SpecError("training needs a network of one batched input", where=graph.name)
    item = graph.inputs[0]
    if settings.image is not None and settings.image != item.shape:
        raise SpecError(
            "the network takes another image", where=graph.name, received=settings.image, expected=item.shape
        )
    return item.name, item.shape


def _data(settings: TrainSettings, image: tuple[int, ...], split: str, limit: int | None) -> Dataset:
    return load_dataset(settings.data, DataRequest(split, image, limit, settings.seed))


def _num_outputs(graph: Graph, data: Dataset) -> int:
    """The length of the main output. Raises SpecError unless it is (N, classes) with at least the data's classes."""
    shape = graph.shapes()[graph.outputs[0][1]]
    if len(shape) != 2 or shape[1] < len(data.classes):
        raise SpecError(
            "the network's main output does not fit the classes",
            where=graph.name,
            received=shape,
            expected=f"(N, {len(data.classes)}) for {data.name}",
        )
    return shape[1]
