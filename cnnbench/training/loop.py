"""The training loop: one backend's step program on batches, masks and rates that are the same for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError, SpecError
from cnnbench.execution.host import HostTraining
from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.spec.masks import masks_of
from cnnbench.spec.weights import check_fits, split_state
from cnnbench.training import checkpoints
from cnnbench.training.batches import epoch_batches
from cnnbench.training.checkpoints import Checkpoint
from cnnbench.training.epoch import Epoch
from cnnbench.training.evaluation import outputs_of
from cnnbench.training.metrics.registry import Score, default_metrics, scorable, score
from cnnbench.training.result import TrainingResult
from cnnbench.training.supervision import supervision
from cnnbench.training.target import target_of
from cnnbench.training.targets import purpose_of, require_true_targets, trained_graph
from cnnbench.training.task import TrainingTask

OnEpoch = Callable[[Epoch], None]
OnStep = Callable[[int, float], None]
Enough = Callable[[int, float], bool]


def train(
    task: TrainingTask,
    *,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
    checkpoint: Path | None = None,
    clock: Clock = MACHINE,
) -> TrainingResult:
    """Trains a network, and evaluates it after each epoch; it ends early at the target of the settings.

    Args:
        task: What is trained, by whom and how.
        on_epoch: Called with each epoch's result.
        on_step: Called with each step's number (from 1) and its loss.
        checkpoint: A file that is written after each epoch, and continued from where it is there.
        clock: By which steps take time.

    Raises:
        SpecError: The network does not take the data.
        DataError: The arrays or the checkpoint do not fit.
    """
    run = _Run(task, clock)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    while not run.ended:
        result = run.one_epoch(on_step)
        if checkpoint is not None:
            checkpoints.save(run.checkpoint(), checkpoint)
        if on_epoch is not None:
            on_epoch(result)
    return run.result()


def losses_until(task: TrainingTask, enough: Enough, *, on_step: OnStep | None = None) -> tuple[float, ...]:
    """The losses of a training, up to the first step after which ``enough`` is true. Raises as ``train``.

    Args:
        task: What is trained, by whom and how.
        enough: Called after each step with its number (from 1) and its loss.
        on_step: Called before it with the same.
    """
    found = []
    for step, loss in enumerate(losses_of(task), start=1):
        found.append(loss)
        if on_step is not None:
            on_step(step, loss)
        if enough(step, loss):
            break
    return tuple(found)


def losses_of(task: TrainingTask) -> Iterator[float]:
    """The loss of each step of a training, which takes a step when it is asked for one. Raises as ``train``."""
    run = _Run(task)
    for epoch in range(task.settings.epochs):
        yield from (step.loss for step in run.steps(epoch))
        if task.settings.schedule.watches:
            run.end_epoch(())


class _Step(NamedTuple):
    """A step: its number from 1, its loss, the seconds that it took, and those that it waited for its batch."""

    number: int
    loss: float
    seconds: float
    data_seconds: float


class _Run:
    """The state of one training."""

    def __init__(self, task: TrainingTask, clock: Clock = MACHINE) -> None:
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
        loss, optimizer = self.settings.loss, self.settings.optimizer
        optimizer.require_names(self.graph)
        self.purpose = purpose_of(self.graph)
        require_true_targets(self.graph, self.settings.augmentation)
        self.settings.require_fitting(self.graph, len(self.train_data))
        self.supervision = supervision(task, self.train_data, self.test_data)
        trained, objective = trained_graph(self.graph, loss)
        self.program = task.backend.compile_step(trained, task.passes(training=True), objective, optimizer)
        self.program.load(*split_state(trained, task.arrays))
        self.evaluation = task.backend.compile_forward(self.graph, task.passes(training=False))
        self.target = target_of(self.graph, self.test_data, self.settings.target)
        self.clock = clock
        self.epoch = 0
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.outputs: Mapping[str, NDArray[Any]] | None = None
        self.training = self.program.snapshot()

    def restore(self, path: Path) -> None:
        """Goes on from a checkpoint. Raises DataError where it is one of something else."""
        found = checkpoints.load(path)
        if found.task != self.task.digest:
            raise DataError(
                "the checkpoint is of another training",
                where=str(path),
                expected="the same backend, network, arrays, data, settings, options, code and packages",
                remedy="delete it to start anew, or give another file",
            )
        self.training = found.training
        self.losses, self.epochs = list(found.losses), list(found.epochs)
        self.epoch = len(self.epochs)
        self.program.load(found.training.weights, found.training.state, found.training.slots)

    def checkpoint(self) -> Checkpoint:
        """Where the run stands."""
        return Checkpoint(self.task.digest, self.training, tuple(self.losses), tuple(self.epochs))

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or the last one reached the target."""
        at_target = self.target is not None and bool(self.epochs) and self.target.reached_by(self.epochs[-1])
        return at_target or self.epoch >= self.settings.epochs

    def one_epoch(self, on_step: OnStep | None) -> Epoch:
        """Trains one epoch and evaluates."""
        taken = []
        for step in self.steps(self.epoch):
            taken.append(step)
            if on_step is not None:
                on_step(step.number, step.loss)
        return self.end_epoch(taken)

    def end_epoch(self, taken: Sequence[_Step]) -> Epoch:
        """Evaluates after the steps of an epoch. Args: taken: those steps; () where their times are not wanted."""
        self.epoch += 1
        self.training = self.program.snapshot()
        self.outputs = self._evaluate()
        values = self.outputs[self.graph.outputs[0][0]].astype(np.float64)
        train_loss = math.fsum(self.losses[-self.steps_per_epoch :]) / self.steps_per_epoch
        result = Epoch(
            epoch=self.epoch,
            step=len(self.losses),
            train_loss=train_loss,
            test_loss=self.supervision.test_loss(self.outputs, _arrays(self.training)),
            test_accuracy=self._accuracy(values),
            metrics=self._scores(intervals=False),
            seconds=math.fsum(step.seconds for step in taken),
            data_seconds=math.fsum(step.data_seconds for step in taken),
            images=self.settings.batch * len(taken),
        )
        self.epochs.append(result)
        if self.ended and result.metrics:
            self.epochs[-1] = result.model_copy(update={"metrics": self._scores(intervals=True)})
        return self.epochs[-1]

    def steps(self, epoch: int) -> Iterator[_Step]:
        """Takes an epoch's steps."""
        settings, images, labels = self.settings, self.train_data.images, self.train_data.labels
        asked = self.clock.now()
        if epoch:
            self.supervision.renew(_arrays(self.program.snapshot()))
        draws = settings.augmentation.draw(len(labels), settings.seed, epoch)
        for positions in epoch_batches(len(labels), settings.batch, settings.seed, epoch):
            step = len(self.losses)
            varied, targets = draws.apply(images[positions], positions), dict(self.supervision.of(positions, step))
            if settings.augmentation.mixup:
                of_step = settings.seed, step
                varied, targets["targets"] = settings.augmentation.mixed(varied, targets["targets"], *of_step)
            batch = {self.input_name: varied, **targets, **masks_of(self.graph, settings.batch, settings.seed, step)}
            begun = self.clock.now()
            rate = settings.rate(step, self.steps_per_epoch, self.epochs)
            self.losses.append(self.program.loss(self.program.run(self.program.upload(batch), rate)))
            ended = self.clock.now()
            yield _Step(step + 1, self.losses[-1], ended - begun, begun - asked)
            asked = self.clock.now()

    def result(self) -> TrainingResult:
        """The run's result; a resumed run that was finished is evaluated for its outputs."""
        outputs = self._evaluate() if self.outputs is None else self.outputs
        predictions: tuple[int, ...] = ()
        targets: tuple[int, ...] = ()
        if self.purpose == "classes":
            predictions = tuple(map(int, outputs[self.graph.outputs[0][0]].argmax(axis=1)))
            targets = tuple(map(int, self.test_data.labels))
        return TrainingResult(
            losses=tuple(self.losses),
            epochs=tuple(self.epochs),
            predictions=predictions,
            targets=targets,
            final=self.training,
            outputs=outputs,
            images=self.test_data.images,
            target=self.target and self.target.after(self.epochs),
        )

    def _accuracy(self, values: NDArray[Any]) -> float | None:
        """The share of test images whose class is predicted; None for what is no classifier."""
        if self.purpose != "classes":
            return None
        return float(np.mean(values.argmax(axis=1) == self.test_data.labels))

    def _scores(self, *, intervals: bool) -> tuple[Score, ...]:
        """What the metrics come to that fit; a classifier's is its accuracy, which stands by itself."""
        assert self.outputs is not None
        names = default_metrics(self.graph, self.test_data)
        if self.purpose == "classes" or not names:
            return ()
        height, width = self.test_data.images.shape[2:]
        decoded = scorable(self.outputs, (height, width), self.graph.outputs[0][0])
        return score(names, decoded, self.test_data, intervals=intervals)

    def _evaluate(self) -> dict[str, NDArray[Any]]:
        """The outputs of the test images with the current weights, by name."""
        self.evaluation.load(self.training.weights, self.training.state)
        return outputs_of(self.evaluation, self.input_name, self.test_data.images, self.settings.batch)


def _arrays(training: HostTraining) -> dict[str, NDArray[Any]]:
    """Weights and running statistics."""
    return {**training.weights, **training.state}
