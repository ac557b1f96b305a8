"""A suite's training as the training loop and the training check take it."""

from __future__ import annotations

from cnnbench.errors import DataError
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.recipes import Train
from cnnbench.harness.suite.trainings import loop_settings
from cnnbench.spec.losses import loss_from_fields
from cnnbench.spec.optimizers import optimizer_from_fields
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.schedules import schedule_from_fields
from cnnbench.training.settings import TrainSettings
from cnnbench.training.starts import WeightStart
from cnnbench.training.steps import TrainingSteps


def train_settings(settings: Train, seed: int) -> TrainSettings:
    """A suite's training settings as the training loop takes them. Args: seed: of the cell."""
    return TrainSettings(
        data=settings.data,
        epochs=settings.epochs,
        batch=settings.batch,
        loss=loss_from_fields(settings.loss.kind, settings.loss.fields),
        optimizer=optimizer_from_fields(settings.optimizer.kind, settings.optimizer.fields),
        learning_rate=settings.learning_rate,
        schedule=schedule_from_fields(settings.schedule.kind, settings.schedule.fields),
        augmentation=Augmentation(**settings.augmentation.model_dump()),
        seed=seed,
        train_images=settings.train_images,
        test_images=settings.test_images,
        target=settings.target,
    )


def required_settings(suite: Suite, cell: Cell) -> Train:
    """What the suite says of a cell's training. Raises DataError where it does not train it.

    Args:
        suite: With its trainings.
        cell: That trains by the loop.
    """
    found = loop_settings(cell, suite)
    if found is None:
        raise DataError("the suite does not train this network", where=cell.id)
    return found


def cell_settings(suite: Suite, cell: Cell) -> TrainSettings:
    """A cell's training as the training loop takes it. Raises DataError as ``required_settings``.

    Args:
        suite: With its trainings.
        cell: That trains by the loop.
    """
    return train_settings(required_settings(suite, cell), cell.seed)


def start_of(suite: Suite, cell: Cell) -> WeightStart:
    """How the weights of a cell's training start, where no file has them.

    Args:
        suite: With its trainings.
        cell: Of a plan of the suite.
    """
    train = loop_settings(cell, suite)
    return WeightStart() if train is None else WeightStart(train.initializer, train.data)


def training_steps(suite: Suite, cell: Cell) -> TrainingSteps:
    """What the training check of a cell runs: the suite's loss, update rule and rates where it trains that network."""
    train, count = loop_settings(cell, suite), suite.checks.training_steps
    if train is None:
        return TrainingSteps.of_steps(count)
    return TrainingSteps.of_settings(train_settings(train, cell.seed), count)
