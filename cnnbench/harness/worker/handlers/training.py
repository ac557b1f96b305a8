"""Training runs in a worker: their epochs and signs of life as events, their curves as replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.handlers.state import SIGN_OF_LIFE_S, WorkerState
from cnnbench.harness.worker.protocol.training import (
    TEST_IMAGES,
    CrossingsReply,
    CrossingsRequest,
    EpochEvent,
    EvaluateReply,
    EvaluateRequest,
    LossesReply,
    LossesRequest,
    StepEvent,
    TrainReply,
    TrainRequest,
)

if TYPE_CHECKING:
    from cnnbench.training.task import TrainingTask


def losses(request: LossesRequest, state: WorkerState) -> LossesReply:
    """Trains beside a curve until the two have parted, or that curve ends."""
    from cnnbench.numerics.training_envelope import parted
    from cnnbench.training.loop import losses_until

    def enough(step: int, loss: float) -> bool:
        if step == request.most or not request.beside:
            return step == request.most
        return step == len(request.beside) or parted(step, loss, request.beside)

    found = losses_until(_task(request, state), enough, on_step=signs_of_life(state))
    return LossesReply(losses=tuple(found))


def crossings(request: CrossingsRequest, state: WorkerState) -> CrossingsReply:
    """Moves values of a training across kinks."""
    from cnnbench.numerics.training_crossings import curve_crossings

    return CrossingsReply(moves=curve_crossings(_task(request, state), request.exact))


def train(request: TrainRequest, state: WorkerState) -> TrainReply:
    """Trains a network."""
    from cnnbench.measurement.memory import PeakWatch
    from cnnbench.training.loop import train as train_network

    state.loaded.reset_device_peak()
    with PeakWatch() as memory:
        result = train_network(
            _task(request, state),
            on_epoch=lambda epoch: state.emit(EpochEvent(epoch=epoch)),
            on_step=signs_of_life(state),
        )
    write_arrays(request.final, {**result.final.weights, **result.final.state})
    write_arrays(request.outputs, {**result.outputs, TEST_IMAGES: result.images})
    return TrainReply(
        losses=result.losses,
        predictions=result.predictions,
        targets=result.targets,
        target=result.target,
        peak_bytes=memory.peak_bytes,
        device_peak_bytes=state.loaded.device_peak_bytes(),
    )


def evaluate(request: EvaluateRequest, state: WorkerState) -> EvaluateReply:
    """Predicts with a trained network, or compares outputs with its own."""
    from cnnbench.training.departures import departures, ties
    from cnnbench.training.evaluation import predict_images

    task = _task(request, state)
    if request.outputs is not None:
        apart = departures(task, request.images, read_arrays(request.outputs))
        far = [i for i, share in zip(request.images, apart, strict=True) if not share <= request.allowed]
        return EvaluateReply(departures=apart, ties=ties(task, far, request.allowed))
    predictions, leads = predict_images(task, request.images)
    return EvaluateReply(predictions=predictions, leads=leads)


def _task(
    request: LossesRequest | CrossingsRequest | TrainRequest | EvaluateRequest, state: WorkerState
) -> TrainingTask:
    from cnnbench.training.task import TrainingTask

    arrays = read_arrays(request.arrays)
    return TrainingTask(state.loaded, request.graph, arrays, request.settings, request.options)


def signs_of_life(state: WorkerState) -> Callable[[int, float], None]:
    """Emits a step and its loss, at most once in ``SIGN_OF_LIFE_S``."""
    emitted = state.clock.now()

    def on_step(step: int, loss: float) -> None:
        nonlocal emitted
        now = state.clock.now()
        if now - emitted > SIGN_OF_LIFE_S:
            emitted = now
            state.emit(StepEvent(step=step, loss=loss))

    return on_step
