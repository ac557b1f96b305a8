"""Exchanges about training runs, and the events in their course."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request
from cnnbench.harness.worker.protocol.values import GraphValue, OptionsValue, TrainSettingsValue
from cnnbench.training.epoch import Epoch
from cnnbench.training.target import Target

TEST_IMAGES = "test images"  # among the outputs in a file; no output has a blank in its name


class LossesReply(Message):
    """The loss of each step."""

    losses: tuple[AnyFloat, ...]


class LossesRequest(Request[LossesReply]):
    """Trains without evaluation, until the losses have parted from those of another run.

    Args:
        beside: The losses of the other run; () for none.
        most: Steps at most; None for all.
    """

    method: ClassVar[str] = "losses"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    settings: TrainSettingsValue
    beside: tuple[AnyFloat, ...]
    most: int | None


class CrossingsReply(Message):
    """How far values that cross a kink move the loss of each step; () where none may cross."""

    moves: tuple[AnyFloat, ...]


class CrossingsRequest(Request[CrossingsReply]):
    """Trains the reference again with values moved across kinks that they lie next to.

    Args:
        exact: The losses of the first steps in float64.
    """

    method: ClassVar[str] = "crossings"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    settings: TrainSettingsValue
    exact: tuple[AnyFloat, ...]


class TrainReply(Message):
    """The loss of each step, and of the test images the predicted and the true classes at the end.

    Args:
        target: When it was reached; None where the settings name none.
        peak_bytes: By how much the worker's resident memory rose at most; None where the kernel does not tell.
        device_peak_bytes: The device allocator's peak; None on the processor.
    """

    losses: tuple[AnyFloat, ...]
    predictions: tuple[int, ...]
    targets: tuple[int, ...]
    target: Target | None = None
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None


class TrainRequest(Request[TrainReply]):
    """Trains a network; each epoch is an event.

    Args:
        final: File for the weights and running statistics at the end.
        outputs: File for the outputs of the test images at the end, and the images as ``TEST_IMAGES``.
    """

    method: ClassVar[str] = "train"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    settings: TrainSettingsValue
    final: Path
    outputs: Path


class EvaluateReply(Message):
    """What becomes of each image.

    Args:
        predictions, leads: Of a classifier the class, and by how much of the largest output it leads the next one.
        departures: Of another network how far the given outputs lie from its own, as ``training.departures`` says.
        ties: The positions of images that depart by more than is allowed, and would by a rounding alone.
    """

    predictions: tuple[int, ...] = ()
    leads: tuple[AnyFloat, ...] = ()
    departures: tuple[AnyFloat, ...] = ()
    ties: tuple[int, ...] = ()


class EvaluateRequest(Request[EvaluateReply]):
    """Runs a trained network on test images.

    Args:
        images: Their positions.
        outputs: A file of the outputs of all test images, with which its own are compared; None for a classifier, whose
            classes are wanted.
        allowed: How far outputs may lie apart; images that depart by more are looked at for ties.
    """

    method: ClassVar[str] = "evaluate"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    settings: TrainSettingsValue
    images: tuple[int, ...]
    outputs: Path | None = None
    allowed: float = 0.0


class EpochEvent(Message):
    """An epoch of training is finished."""

    kind: Literal["epoch"] = "epoch"
    epoch: Epoch


class StepEvent(Message):
    """A step of training, sent about once a second as a sign of life. Args: step: counted from 1."""

    kind: Literal["step"] = "step"
    step: int
    loss: AnyFloat


Event = Annotated[EpochEvent | StepEvent, Field(discriminator="kind")]
