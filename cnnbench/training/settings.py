"""The settings of a training run, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cnnbench.errors import SpecError
from cnnbench.spec.losses import CrossEntropy, Loss
from cnnbench.spec.optimizers import SGD, Optimizer
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.schedules import Constant, Schedule

if TYPE_CHECKING:
    from cnnbench.spec.graph import Graph
    from cnnbench.training.epoch import Epoch


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What is trained, and how.

    Args:
        data: A dataset's name. image: the shape (C, *spatial); None for that of the network's input.
        epochs: Passes over the training images. batch: images a step, also in evaluation.
        learning_rate: The base rate, which the schedule multiplies.
        seed: Of the order of batches, masks, augmentation and the choice of images.
        train_images, test_images: At most so many, chosen by the seed; None for all.
        target: It ends after the first epoch whose evaluation is as good in the main metric; None for all epochs.
    """

    data: str = "digits"
    image: tuple[int, ...] | None = None
    epochs: int = 3
    batch: int = 64
    loss: Loss = field(default_factory=CrossEntropy)
    optimizer: Optimizer = field(default_factory=SGD)
    learning_rate: float = 0.05
    schedule: Schedule = field(default_factory=Constant)
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    train_images: int | None = None
    test_images: int | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "train_images", "test_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SpecError(f"{name} is not valid", received=value, expected="an integer of at least 1")

    def require_fitting(self, graph: Graph, images: int) -> None:
        """Raises SpecError where the settings do not go together, or not with what is trained.

        Args:
            graph: The network.
            images: Of the training data.
        """
        self.require_fitting_parts()
        if not self.optimizer.same_batch:
            return
        what = f"the optimizer {self.optimizer.kind!r} compares gradients, and they must be of the same loss"
        if masks := graph.named_masks():
            raise SpecError(what, where=graph.name, received=f"random masks: {masks[0].name}", expected="no dropout")
        if self.batch != images:
            raise SpecError(
                what,
                received=f"batches of {self.batch} from {images} training images",
                expected="one batch of all training images",
                remedy=f"batch: {images}",
            )

    def require_fitting_parts(self) -> None:
        """Raises SpecError where the settings do not go together, whatever is trained."""
        self._require_mixable_targets()
        if self.optimizer.same_batch and self.augmentation != Augmentation():
            raise SpecError(
                f"the optimizer {self.optimizer.kind!r} compares gradients, and they must be of the same images",
                received=self.augmentation,
                expected="no augmentation",
            )

    def _require_mixable_targets(self) -> None:
        """Raises SpecError where targets are to be mixed and the loss takes classes."""
        if self.augmentation.mixup and (self.loss.int_targets or not self.loss.has_targets):
            raise SpecError(
                "mixup makes probabilities of the targets",
                received=f"the loss {self.loss.kind!r}",
                expected="a loss that takes probabilities",
                remedy="loss: soft_cross_entropy",
            )

    def rate(self, step: int, steps_per_epoch: int, past: Sequence[Epoch] = ()) -> float:
        """The learning rate of a step.

        Args:
            step: Counted from 0.
            steps_per_epoch: Steps of an epoch.
            past: What the epochs before it came to.
        """
        factor = self.schedule.factor(step / steps_per_epoch, float(self.epochs))
        return self.learning_rate * factor * self.schedule.reduction(past)
