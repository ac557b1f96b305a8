"""The optimiser steps that a network's training is checked on, as data, with the rates that a training would take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import SGD, Optimizer
from cnnbench.training.settings import TrainSettings

PATTERN = (0.5, 1.0, 1.0, 0.5, 0.5)  # of a constant rate, so that the place of the rate in the update rule shows
LATER = 2  # steps late in the run
HELD, HELD_SHORT = 24, 4  # steps in which the rate is 0, and the same where a step takes long


@dataclass(frozen=True)
class TrainingSteps:
    """What the training check runs.

    For example, with rates (0.01, 0.02), ``held`` 24 and later rates (0.03,) a program takes two steps, 24 at the rate
    0, which leave the weights where they are, and one more: it has taken 27 in all. A network that is checked on
    smaller images, or that has very many weights, takes fewer.

    Args:
        optimizer: The update rule.
        loss: None for cross-entropy on a classifier, mean squared error elsewhere.
        rates: Learning rates of the first steps; they differ, so that the place of the rate in the update rule shows.
        later: Those of the last steps.
        held: Steps in between; None for a number that the network's size says.
    """

    optimizer: Optimizer = field(default_factory=lambda: SGD(momentum=0.9, weight_decay=1e-4))
    loss: Loss | None = None
    rates: tuple[float, ...] = (0.01, 0.02, 0.02, 0.01, 0.01)
    later: tuple[float, ...] = (0.03, 0.015)
    held: int | None = None

    @staticmethod
    def of_steps(count: int) -> TrainingSteps:
        """So many first steps, with the default rates over and over."""
        rates = TrainingSteps().rates
        return TrainingSteps(rates=tuple(rates[i % len(rates)] for i in range(count)))

    @staticmethod
    def of_settings(settings: TrainSettings, count: int) -> TrainingSteps:
        """The loss and update rule of a training, and rates of its schedule at times that are spread over all of it.

        Args:
            settings: Of the training.
            count: First steps.
        """
        total, epochs = count + LATER, settings.epochs
        factors = [settings.schedule.factor((i + 0.5) / total * epochs, float(epochs)) for i in range(total)]
        if len(set(factors)) == 1:
            factors = [factors[0] * PATTERN[i % len(PATTERN)] for i in range(total)]
        rates = tuple(settings.learning_rate * factor for factor in factors)
        return TrainingSteps(settings.optimizer, settings.loss, rates[:count], rates[count:])

    def few(self, count: int) -> TrainingSteps:
        """The same for a network whose steps take long: ``count`` first steps, and one late one."""
        return replace(self, rates=self.rates[:count], later=self.later[:1])

    def scaled(self, factor: float) -> TrainingSteps:
        """The same with other step sizes."""
        rates, later = (tuple(factor * rate for rate in rates) for rates in (self.rates, self.later))
        return replace(self, rates=rates, later=later)
