"""Exchanges about a program that is timed, from its preparation to its release."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.harness.worker.protocol.values import (
    FreshnessValue,
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
        stock: The file of images of which later inputs are made; None where the first is the only one.
    """

    method: ClassVar[str] = "prepare"
    cell: str
    graph: GraphValue
    options: OptionsValue
    arrays: Path
    batch: Path
    sampling: SampleSettingsValue
    output: Path | None = None
    stock: Path | None = None


class FeedRequest(Request[Done]):
    """Uploads inputs, over which the calls then go round. Args: rows: the images of each, by place in the stock."""

    method: ClassVar[str] = "feed"
    cell: str
    rows: tuple[tuple[int, ...], ...] = Field(min_length=1)


class WarmUpReply(Message):
    """What warming up took."""

    warm_up: WarmUpValue


class WarmUpRequest(Request[WarmUpReply]):
    """Calls a prepared program until it is steady."""

    method: ClassVar[str] = "warm_up"
    cell: str


class SynchronizationReply(Message):
    """Whether waiting for a result really waits, and whether an input that was seen before costs the same."""

    check: SynchronizationValue
    fresh: FreshnessValue


class SynchronizationRequest(Request[SynchronizationReply]):
    """Checks that the time of a call is the time of its work, on every input.

    Args:
        call_s: Seconds of a call.
        lots: Inputs that are new to the program, as ``FeedRequest`` has them, lot by lot.
    """

    method: ClassVar[str] = "check_synchronization"
    cell: str
    call_s: float
    lots: tuple[tuple[tuple[int, ...], ...], ...] = ()


class SampleReply(Message):
    """One round: seconds of one call for each sample, and what the machine did meanwhile.

    Args:
        elapsed_s: Seconds of the whole request, by the clock of the samples: the parent's must agree.
    """

    samples_s: tuple[float, ...]
    observed: ObservationValue
    elapsed_s: float


class SampleRequest(Request[SampleReply]):
    """Takes one round of samples of a prepared program."""

    method: ClassVar[str] = "sample"
    cell: str


class CollectReply(Message):
    """What calls gave since they were collected last; the file has each input's first outputs, ``<input>/<output>``.

    Args:
        inputs: Places, among those that were fed, of the inputs in the file.
        deviation: By output, how far a later result of the same input lay from the first; {} where none did.
        num_read: Results that were read.
        calls: Of all samples together, those that do not count among them.
        again: For each of them whether its calls were on inputs that had been called before.
        used_s: For each of them, processor time of a call.
        idle_after_s: Seconds after the last sample until the process was idle; ``IDLE_LIMIT_S`` where it was not.
    """

    inputs: tuple[int, ...]
    deviation: dict[str, AnyFloat]
    num_read: int
    calls: int
    again: tuple[bool, ...]
    used_s: tuple[float, ...]
    idle_after_s: float


class CollectRequest(Request[CollectReply]):
    """Waits until the process is idle, and tells what its samples gave. Args: output: the file for outputs."""

    method: ClassVar[str] = "collect"
    cell: str
    output: Path


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


class MachineRatesReply(Message):
    """What processors can do at best, as ``MachineRates``."""

    operations_per_s: float
    copied_bytes_per_s: float


class MachineRatesRequest(Request[MachineRatesReply]):
    """Measures the processors that the worker is bound to; no backend need be loaded. Args: storage: a type's name."""

    method: ClassVar[str] = "machine_rates"
    storage: str
