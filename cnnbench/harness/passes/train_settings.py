"""A suite's training as the training loop and the training check take it."""

from __future__ import annotations

from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Suite, Train
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


def start_of(suite: Suite) -> WeightStart:
    """How the weights of a suite's trainings start, where no file has them."""
    return WeightStart() if suite.train is None else WeightStart(suite.train.initializer, suite.train.data)


def training_steps(suite: Suite, cell: Cell) -> TrainingSteps:
    """What the training check of a cell runs: the suite's loss, update rule and rates where it trains that network."""
    train, count = suite.train, suite.checks.training_steps
    if train is None or cell.architecture not in train.architectures:
        return TrainingSteps.of_steps(count)
    return TrainingSteps.of_settings(train_settings(train, cell.seed), count)
