"""Exchanges about training by a program: a few rounds to be checked, and whole trainings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.harness.worker.protocol.values import OptionsValue, ProgramValue, RoundSettingsValue, SamplingValue

PICTURES = "pictures"


class RoundsReply(Message):
    """(round from 0, phase) of everything that was taken, in order."""

    taken: tuple[tuple[int, str], ...]


class RoundsRequest(Request[RoundsReply]):
    """Runs a few rounds and tells what is held after each phase.

    Args:
        arrays: File of the initial weights and running statistics of all networks.
        settings: Of the rounds.
        rounds: How many.
        output: File for what is held: ``<number of what was taken>/<name>``.
    """

    method: ClassVar[str] = "rounds"
    program: ProgramValue
    options: OptionsValue
    arrays: Path
    settings: RoundSettingsValue
    rounds: int
    output: Path


class PicturesRequest(Request[Done]):
    """Makes pictures with trained networks.

    Args:
        sampling: How.
        arrays: File of the arrays of its graph, by the graph's names.
        count: How many pictures.
        seed: Of what they are made from.
        output: File for them, as ``PICTURES``.
        data: The dataset whose test images are translated; None where nothing is.
    """

    method: ClassVar[str] = "pictures"
    sampling: SamplingValue
    options: OptionsValue
    arrays: Path
    count: int
    seed: int
    output: Path
    data: str | None = None


class TrainProgramReply(Message):
    """The loss of each phase of each round, in turn; memory as in ``TrainReply``."""

    losses: tuple[AnyFloat, ...]
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None


class TrainProgramRequest(Request[TrainProgramReply]):
    """Trains by a program; each part of it is an event, as an epoch is.

    Args:
        arrays: As in ``RoundsRequest``.
        settings: Of the rounds.
        rounds: How many.
        final: File for the weights and running statistics at the end.
        averages: File for the moving averages of weights at the end, by full name; empty without.
    """

    method: ClassVar[str] = "train_program"
    program: ProgramValue
    options: OptionsValue
    arrays: Path
    settings: RoundSettingsValue
    rounds: int
    final: Path
    averages: Path
