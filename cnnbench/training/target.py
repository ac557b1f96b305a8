"""The figure at which a training ends early: of the main metric of the test images, after an epoch's evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.errors import SpecError
from cnnbench.spec.frozen import Figures
from cnnbench.spec.graph import Graph
from cnnbench.training.epoch import Epoch

if TYPE_CHECKING:
    from cnnbench.training.dataset import Dataset

ACCURACY = "accuracy"


class Target(Figures):
    """A figure that a training is to reach, and when it did.

    For example, a classifier with the target 0.9 reaches test accuracies of 0.71, 0.88 and 0.93. It ends after the
    third of its epochs, and ``time_to_target_s`` is what the steps of the three epochs took.

    Args:
        metric: The main metric: a classifier's accuracy, else the first that fits the network and the data.
        value: At least that is wanted; at most that where lower is better.
        higher_is_better: Whether more of the metric is better.
        epochs_to_target: The epoch that reached it; None where none did.
        time_to_target_s: Of the training steps up to there; evaluation and data preparation are left out.
    """

    metric: str
    value: float
    higher_is_better: bool = True
    epochs_to_target: int | None = None
    time_to_target_s: float | None = None

    def reached_by(self, epoch: Epoch) -> bool:
        """Whether an epoch's figure is as good; one that is not defined is not."""
        found = _figure(self.metric, epoch)
        if found is None:
            return False
        return found >= self.value if self.higher_is_better else found <= self.value

    def after(self, epochs: Sequence[Epoch]) -> Target:
        """With the first of these epochs that reaches it, and the time that the steps up to its end took."""
        count = next((count for count, epoch in enumerate(epochs, start=1) if self.reached_by(epoch)), None)
        seconds = None if count is None else math.fsum(epoch.seconds for epoch in epochs[:count])
        return self.model_copy(update={"epochs_to_target": count, "time_to_target_s": seconds})

    @property
    def in_words(self) -> str:
        """What was wanted: "accuracy of at least 0.9"."""
        return f"{self.metric} of at {'least' if self.higher_is_better else 'most'} {self.value:.4g}"

    def missed(self, epochs: Sequence[Epoch]) -> str | None:
        """In words, that these epochs did not reach it; None where they did."""
        if self.epochs_to_target is not None:
            return None
        figures = [found for epoch in epochs if (found := _figure(self.metric, epoch)) is not None]
        best = (max if self.higher_is_better else min)(figures, default=None)
        said = "it was never defined" if best is None else f"the best was {best:.4g}"
        return f"the target was not reached: {self.in_words} in {len(epochs)} epochs; {said}"


def _figure(metric: str, epoch: Epoch) -> float | None:
    """A metric's figure after an epoch, where it is defined."""
    if metric == ACCURACY and epoch.test_accuracy is not None:
        return epoch.test_accuracy
    return next((score.value for score in epoch.metrics if score.metric == metric), None)


def target_of(graph: Graph, test: Dataset, value: float | None) -> Target | None:
    """The target of a training; None where no figure is wanted.

    Args:
        graph: The network.
        test: The images that it is evaluated on.
        value: The figure that is wanted.

    Raises:
        SpecError: No metric fits the network and the data, or the figure lies outside of the metric's limits.
    """
    # They import NumPy, which the protocol of workers must not.
    from cnnbench.training.metrics.registry import default_metrics, image_metric
    from cnnbench.training.targets import purpose_of

    if value is None:
        return None
    require_possible_accuracy(graph, value)
    if purpose_of(graph) == "classes":
        return Target(metric=ACCURACY, value=value)
    names = default_metrics(graph, test)
    if not names:
        raise SpecError(
            "no metric fits the network and the data, so that there is nothing to reach",
            where=graph.name,
            received=f"target {value} on {test.name}",
            remedy="leave the target out",
        )
    metric = image_metric(names[0])
    _require_within(value, metric.name, metric.limits, higher_is_better=metric.higher_is_better)
    return Target(metric=metric.name, value=value, higher_is_better=metric.higher_is_better)


def require_possible_accuracy(graph: Graph, value: float) -> None:
    """Raises SpecError where a network classifies and the target is no accuracy that says something."""
    from cnnbench.training.targets import purpose_of

    if purpose_of(graph) == "classes":
        _require_within(value, ACCURACY, (0.0, 1.0), higher_is_better=True)


def _require_within(value: float, metric: str, limits: tuple[float, float], *, higher_is_better: bool) -> None:
    """The worst end of the limits says nothing: every training reaches it."""
    low, high = limits
    if (low < value <= high) if higher_is_better else (low <= value < high):
        return
    ends = f"above {low:g} and at most {high:g}" if higher_is_better else f"at least {low:g} and below {high:g}"
    raise SpecError("the target cannot be reached, or always is", received=value, expected=f"{metric} {ends}")
