"""A training ends at its target, whose time is that of the steps alone; which targets are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.measurement.clock import ManualClock
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.losses import MeanSquaredError
from cnnbench.spec.weights import initialize
from cnnbench.training import checkpoints
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.epoch import Epoch
from cnnbench.training.loop import train
from cnnbench.training.metrics.score import Score
from cnnbench.training.result import TrainingResult
from cnnbench.training.settings import TrainSettings
from cnnbench.training.target import Target, target_of
from cnnbench.training.task import TrainingTask

FAST = ProgramOptions("fast", precision("float32"))
DIGITS = TrainSettings(epochs=5, batch=16, train_images=160, test_images=50, learning_rate=0.02)
PICTURES = TrainSettings(
    data="shapes", epochs=4, batch=8, train_images=32, test_images=8, learning_rate=0.001, loss=MeanSquaredError()
)
STEP_S, EVALUATION_S = 0.5, 1000.0


def classifier() -> Graph:
    builder = Builder("classifier")
    flat = builder.add("flat", L.Flatten(), builder.input("image", (1, 8, 8)))
    return builder.build({"logits": builder.add("fc", L.Linear(out_features=10), flat)})


def autoencoder() -> Graph:
    builder = Builder("pictures")
    x = builder.input("image", (3, 24, 24))
    return builder.build({"image": builder.add("conv", L.Conv(out_channels=3, kernel_size=3, padding=1), x)})


def run(backend: Any, graph: Graph, settings: TrainSettings, **more: Any) -> TrainingResult:
    return train(TrainingTask(backend, graph, initialize(graph, 0), settings, FAST), **more)


class _Timed:
    """A program whose calls take the same time each."""

    def __init__(self, program: Any, clock: ManualClock, seconds: float) -> None:
        self._program, self._clock, self._seconds = program, clock, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._program, name)

    def run(self, *given: Any) -> Any:
        self._clock.advance(self._seconds)
        return self._program.run(*given)


class _TimedBackend:
    """A backend whose steps are short and whose evaluation takes long, by a clock that nothing else moves."""

    def __init__(self, backend: Backend, clock: ManualClock) -> None:
        self._backend, self._clock = backend, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def compile_step(self, *given: Any) -> Any:
        return _Timed(self._backend.compile_step(*given), self._clock, STEP_S)

    def compile_forward(self, *given: Any) -> Any:
        return _Timed(self._backend.compile_forward(*given), self._clock, EVALUATION_S)


@pytest.fixture(scope="module")
def whole(numpy_backend: Backend) -> TrainingResult:
    """All epochs of the classifier."""
    found = run(numpy_backend, classifier(), DIGITS)
    assert found.target is None
    accuracies = [epoch.test_accuracy for epoch in found.epochs]
    assert accuracies[0] < accuracies[1] < max(accuracies[2:])  # so that each target below is first reached there
    return found


def test_it_ends_after_the_first_epoch_that_reaches_the_target(whole: TrainingResult, numpy_backend: Backend) -> None:
    for count in (1, 2):
        settings = replace(DIGITS, target=whole.epochs[count - 1].test_accuracy)
        found = run(numpy_backend, classifier(), settings)
        assert len(found.epochs) == count
        assert found.losses == whole.losses[: 10 * count]
        assert found.target is not None
        assert (found.target.epochs_to_target, found.target.missed(found.epochs)) == (count, None)
        assert found.target.in_words.startswith("accuracy of at least 0.")


def test_the_time_to_the_target_is_that_of_steps_alone(whole: TrainingResult, numpy_backend: Backend) -> None:
    clock = ManualClock()
    settings = replace(DIGITS, target=whole.epochs[1].test_accuracy)
    found = run(_TimedBackend(numpy_backend, clock), classifier(), settings, clock=clock.clock)
    assert clock.seconds > 2 * EVALUATION_S  # both epochs were evaluated
    assert [epoch.seconds for epoch in found.epochs] == [10 * STEP_S] * 2
    assert found.target is not None
    assert found.target.time_to_target_s == 20 * STEP_S


def test_a_target_that_is_missed_is_said_with_the_best_figure(whole: TrainingResult, numpy_backend: Backend) -> None:
    found = run(numpy_backend, classifier(), replace(DIGITS, target=1.0))
    assert found.losses == whole.losses
    assert found.target is not None
    assert (found.target.epochs_to_target, found.target.time_to_target_s) == (None, None)
    best = max(epoch.test_accuracy or 0.0 for epoch in whole.epochs)
    said = f"the target was not reached: accuracy of at least 1 in 5 epochs; the best was {best:.4g}"
    assert found.target.missed(found.epochs) == said


def test_where_lower_is_better_it_ends_at_most_at_the_target(numpy_backend: Backend) -> None:
    errors = [epoch.metrics[0].value for epoch in run(numpy_backend, autoencoder(), PICTURES).epochs]
    assert None not in errors
    assert errors[0] > errors[1] > errors[2]
    found = run(numpy_backend, autoencoder(), replace(PICTURES, target=errors[1]))
    assert len(found.epochs) == 2
    assert found.epochs[0].metrics[0].per_image is None
    assert found.epochs[1].metrics[0].per_image is not None  # the last epoch's has its interval, wherever it ends
    assert found.target is not None
    assert found.target.in_words.startswith("reconstruction_error of at most ")
    assert found.target.epochs_to_target == 2


def test_a_training_that_was_interrupted_ends_where_it_would_have(
    whole: TrainingResult, numpy_backend: Backend, tmp_path: Path
) -> None:
    path = tmp_path / "training.safetensors"
    settings = replace(DIGITS, target=whole.epochs[1].test_accuracy)
    uninterrupted = run(numpy_backend, classifier(), settings)

    def interrupt(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(numpy_backend, classifier(), settings, on_epoch=interrupt, checkpoint=path)
    resumed = run(numpy_backend, classifier(), settings, checkpoint=path)
    heard: list[Epoch] = []
    again = run(numpy_backend, classifier(), settings, on_epoch=heard.append, checkpoint=path)
    assert len(checkpoints.load(path).epochs) == 2
    assert not heard  # it had ended: nothing is trained beyond the target
    for found in (resumed, again):
        assert found.losses == uninterrupted.losses
        assert found.predictions == uninterrupted.predictions
        assert found.target is not None
        assert found.target.epochs_to_target == 2


def epoch(value: float | None, name: str = "mean_iou") -> Epoch:
    scores = (Score(metric="other", value=1.0, images=5), Score(metric=name, value=value, images=5))
    return Epoch(epoch=1, step=1, train_loss=1.0, seconds=2.0, metrics=scores)


def test_the_figure_is_that_of_its_own_metric() -> None:
    target = Target(metric="mean_iou", value=0.5)
    assert target.reached_by(epoch(0.5))
    assert not target.reached_by(epoch(None))
    assert not target.reached_by(epoch(0.9, "mean_dice"))
    assert not Target(metric="mean_iou", value=0.5, higher_is_better=False).reached_by(epoch(0.6))
    assert "it was never defined" in (target.after([epoch(None)]).missed([epoch(None)]) or "")
    assert target.after([epoch(0.1), epoch(0.7), epoch(0.8)]).time_to_target_s == 4.0


@pytest.mark.parametrize("value", [0.0, -0.1, 1.01, 90.0, float("nan")])
def test_an_accuracy_that_says_nothing_is_refused(value: float, numpy_backend: Backend) -> None:
    with pytest.raises(SpecError, match="accuracy above 0 and at most 1"):
        run(numpy_backend, classifier(), replace(DIGITS, target=value))


def test_a_target_needs_a_metric_and_lies_within_its_limits() -> None:
    data = load_dataset("shapes", DataRequest("test", (3, 24, 24), 3, 0))
    with pytest.raises(SpecError, match="reconstruction_error at least 0 and below"):
        target_of(autoencoder(), data, -0.5)
    other = load_dataset("shapes", DataRequest("test", (3, 32, 32), 3, 0))
    with pytest.raises(SpecError, match="no metric fits"):
        target_of(autoencoder(), other, 0.5)
