"""An epoch's speed: images over the time of steps alone, and the share of the time that steps waited for data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.measurement.clock import ManualClock
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder
from cnnbench.spec.weights import initialize
from cnnbench.training import loop
from cnnbench.training.batches import epoch_batches
from cnnbench.training.epoch import Epoch, training_rate, waiting_share
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

WAIT_S, STEP_S = 0.25, 0.75


def epoch(seconds: float, data_seconds: float | None, images: int | None) -> Epoch:
    return Epoch(epoch=1, step=1, train_loss=1.0, seconds=seconds, data_seconds=data_seconds, images=images)


def test_the_rate_is_of_steps_alone_and_the_share_of_both() -> None:
    found = epoch(seconds=3.0, data_seconds=1.0, images=600)
    assert (found.images_per_s, found.data_share) == (200.0, 0.25)
    more = (found, epoch(seconds=5.0, data_seconds=0.0, images=200))
    assert (training_rate(more), waiting_share(more)) == (100.0, 1 / 9)


@pytest.mark.parametrize(("data_seconds", "images", "seconds"), [(None, None, 2.0), (0.0, 10, 0.0)])
def test_what_is_not_known_is_missing(data_seconds: float | None, images: int | None, seconds: float) -> None:
    found = epoch(seconds, data_seconds, images)
    assert (found.images_per_s, found.data_share) == (None, None)
    assert training_rate((found, epoch(1.0, 1.0, 10))) is None or images is not None


def test_a_training_tells_waiting_for_data_from_steps(numpy_backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps of which each waits a quarter of a second for its batch, and takes three quarters."""
    clock = ManualClock()

    def slowly(*given: Any) -> Iterator[Any]:
        for positions in epoch_batches(*given):
            clock.advance(WAIT_S)
            yield positions

    builder = Builder("classifier")
    flat = builder.add("flat", L.Flatten(), builder.input("image", (1, 8, 8)))
    graph = builder.build({"logits": builder.add("fc", L.Linear(out_features=10), flat)})
    settings = TrainSettings(epochs=2, batch=16, train_images=160, test_images=50)
    options = ProgramOptions("fast", precision("float32"))
    monkeypatch.setattr(loop, "epoch_batches", slowly)
    task = TrainingTask(numpy_backend, graph, initialize(graph, 0), settings, options)
    compiled = task.backend.compile_step

    class Slow:
        def __init__(self, program: Any) -> None:
            self.program = program

        def __getattr__(self, name: str) -> Any:
            return getattr(self.program, name)

        def run(self, *given: Any) -> Any:
            clock.advance(STEP_S)
            return self.program.run(*given)

    monkeypatch.setattr(task.backend, "compile_step", lambda *given: Slow(compiled(*given)))
    for found in loop.train(task, clock=clock.clock).epochs:
        assert (found.seconds, found.data_seconds, found.images) == (10 * STEP_S, 10 * WAIT_S, 160)
        assert (found.images_per_s, found.data_share) == (160 / 7.5, 0.25)
