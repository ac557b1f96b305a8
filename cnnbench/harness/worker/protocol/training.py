"""Exchanges about training runs, and the events in their course."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request
from cnnbench.harness.worker.protocol.values import GraphValue, OptionsValue, TrainSettingsValue
from cnnbench.training.epoch import Epoch


class LossesReply(Message):
    """The loss of each step."""

    losses: tuple[AnyFloat, ...]


class LossesRequest(Request[LossesReply]):
    """Trains until the losses have parted from those of another run, ``beside``."""

    method: ClassVar[str] = "losses"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    settings: TrainSettingsValue
    beside: tuple[AnyFloat, ...]


class TrainReply(Message):
    """The loss of each step, and of the test images the predicted and the true classes at the end."""

    losses: tuple[AnyFloat, ...]
    predictions: tuple[int, ...]
    targets: tuple[int, ...]


class TrainRequest(Request[TrainReply]):
    """Trains a network; each epoch is an event."""

    method: ClassVar[str] = "train"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    settings: TrainSettingsValue


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
