"""Exchanges about single passes and steps of a graph, and the oracle's answers ahead of the checks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.harness.worker.protocol.values import (
    GraphValue,
    LossValue,
    OptimizerValue,
    OptionsValue,
    TrainingStepsValue,
)


class ForwardRequest(Request[Done]):
    """One forward pass for a check. Args: output: file for the arrays ``outputs/<name>`` and ``state/<name>``."""

    method: ClassVar[str] = "forward"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    batch: Path
    output: Path


class GradientReply(Message):
    """The loss; not a number where the gradient is not that of a loss."""

    loss: AnyFloat


class GradientRequest(Request[GradientReply]):
    """One gradient pass for a check. Args: output: file for ``weights/``, ``inputs/`` and ``state/``."""

    method: ClassVar[str] = "gradient"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    batch: Path
    loss: LossValue | None
    output: Path


class StepsReply(Message):
    """The loss before each step."""

    losses: tuple[AnyFloat, ...]


class StepsRequest(Request[StepsReply]):
    """Optimiser steps for a check.

    Args:
        reads, loads, kept: As ``Updates`` has them.
        outputs: A file for each step of ``kept``, in that order, for ``weights/``, ``state/`` and ``slots/``.
    """

    method: ClassVar[str] = "steps"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    batches: tuple[Path, ...]
    loss: LossValue
    optimizer: OptimizerValue
    learning_rates: tuple[float, ...]
    reads: tuple[int, ...]
    loads: tuple[tuple[int, int], ...]
    kept: tuple[int, ...]
    outputs: tuple[Path, ...]


class PrefetchRequest(Request[Done]):
    """Has the oracle compute what a check will ask it for, into the user's cache; no backend need be loaded.

    Args:
        thorough: Whether the check also does what costs much.
    """

    method: ClassVar[str] = "prefetch"
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    batch: Path
    seed: int
    training: TrainingStepsValue
    thorough: bool
    check: str
