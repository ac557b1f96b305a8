"""Exchanges about a program that is timed, from its preparation to its release."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cnnbench.harness.worker.protocol.messages import Message, Request
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.harness.worker.protocol.values import (
    GraphValue,
    ObservationValue,
    OptionsValue,
    SampleSettingsValue,
    SynchronizationValue,
    TurnValue,
    WarmUpValue,
)


class PrepareReply(Message):
    """Seconds of each phase; ``compile_s`` is None where the program compiles in its first call."""

    build_s: float
    weights_s: float
    compile_s: float | None
    first_call_s: float


class PrepareRequest(Request[PrepareReply]):
    """Makes a cell's program and calls it once.

    Args:
        cell: By which later requests name the program.
        arrays: The file of weights and running statistics. batch: that of inputs by name.
        output: Where the outputs of the first call go; None for nowhere.
    """

    method: ClassVar[str] = "prepare"
    cell: str
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    batch: Path
    sampling: SampleSettingsValue
    output: Path | None = None


class WarmUpReply(Message):
    """What warming up took."""

    warm_up: WarmUpValue


class WarmUpRequest(Request[WarmUpReply]):
    """Calls a prepared program until it is steady."""

    method: ClassVar[str] = "warm_up"
    cell: str


class SynchronizationReply(Message):
    """Whether waiting for a result really waits."""

    check: SynchronizationValue


class SynchronizationRequest(Request[SynchronizationReply]):
    """Checks that the time of a call is the time of its work. Args: call_s: seconds of a call."""

    method: ClassVar[str] = "check_synchronization"
    cell: str
    call_s: float


class SampleReply(Message):
    """One round: seconds of one call for each sample, and what the machine did meanwhile."""

    samples_s: tuple[float, ...]
    observed: ObservationValue


class SampleRequest(Request[SampleReply]):
    """Takes one round of samples of a prepared program."""

    method: ClassVar[str] = "sample"
    cell: str


class BeginTurnsRequest(Request[Done]):
    """Begins a round whose samples alternate with those of another process."""

    method: ClassVar[str] = "begin_turns"
    cell: str


class TurnReply(Message):
    """The samples of one turn."""

    turn: TurnValue


class TurnRequest(Request[TurnReply]):
    """Takes the next samples of such a round."""

    method: ClassVar[str] = "turn"
    cell: str
    samples: int = Field(ge=1)


class EndTurnsReply(Message):
    """What the machine did in such a round. Args: used_s: processor time of the worker in all."""

    observed: ObservationValue
    used_s: float


class EndTurnsRequest(Request[EndTurnsReply]):
    """Ends such a round."""

    method: ClassVar[str] = "end_turns"
    cell: str


class ReleaseRequest(Request[Done]):
    """Forgets a prepared program."""

    method: ClassVar[str] = "release"
    cell: str


class YardsticksReply(Message):
    """What the machine can do at best."""

    matrix_product_gflop_per_s: float
    copy_gb_per_s: float


class YardsticksRequest(Request[YardsticksReply]):
    """Measures the machine; no backend need be loaded."""

    method: ClassVar[str] = "yardsticks"
