"""What a suite may say: the model of its YAML file, strict in keys and types, with every default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, field_validator

from cnnbench.harness.record import Frozen

SUITE_SCHEMA_VERSION = 1

CheckName = Literal["local", "exact", "end_to_end", "gradient", "determinism", "training"]
MeasureName = Literal["latency", "memory"]
CHECKS: tuple[CheckName, ...] = ("local", "exact", "end_to_end", "gradient", "determinism", "training")

Whole = Annotated[int, Strict()]
PositiveInt = Annotated[int, Strict(), Field(gt=0)]
Number = Annotated[float, Strict()]
PositiveFloat = Annotated[float, Strict(), Field(gt=0)]
Flag = Annotated[bool, Strict()]

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
DEVICE = r"^(cpu|[a-z]+(:[0-9]+)?)$"


def _listed(value: Any) -> Any:
    """A scalar or a mapping where a list may stand counts as a list of one."""
    return [value] if value is not None and not isinstance(value, list | tuple) else value


def _images(value: Any) -> Any:
    """Each entry as (side,) or (C, *spatial): a bare number is the side of a square image."""
    entries = _listed(value)
    if not isinstance(entries, list | tuple):
        return entries
    return [[entry] if isinstance(entry, int) and not isinstance(entry, bool) else entry for entry in entries]


def _threads(value: Any) -> Any:
    return [None] if value is None else _listed(value)


def _choices(value: Any) -> Any:
    """A backend may be written as its bare name."""
    entries = _listed(value)
    if not isinstance(entries, list | tuple):
        return entries
    return [{"name": entry} if isinstance(entry, str) else entry for entry in entries]


def _kind(value: Any) -> Any:
    """A loss, an optimiser or a schedule may be written as its bare kind."""
    return {"kind": value} if isinstance(value, str) else value


Names = Annotated[
    tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str]), Field(min_length=1)
]
Sizes = Annotated[
    tuple[PositiveInt, ...],
    BeforeValidator(_listed, json_schema_input_type=PositiveInt | list[PositiveInt]),
    Field(min_length=1),
]
Threads = Annotated[
    tuple[PositiveInt | None, ...],
    BeforeValidator(_threads, json_schema_input_type=PositiveInt | list[PositiveInt | None] | None),
    Field(min_length=1),
]
Images = Annotated[
    tuple[Annotated[tuple[PositiveInt, ...], Field(min_length=1)], ...],
    BeforeValidator(_images, json_schema_input_type=PositiveInt | list[PositiveInt | list[PositiveInt]]),
    Field(min_length=1),
]
Devices = Annotated[
    tuple[Annotated[str, Field(pattern=DEVICE)], ...],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]
CheckNames = Annotated[
    tuple[CheckName, ...], BeforeValidator(_listed, json_schema_input_type=CheckName | list[CheckName])
]
MeasureNames = Annotated[
    tuple[MeasureName, ...], BeforeValidator(_listed, json_schema_input_type=MeasureName | list[MeasureName])
]


class BackendChoice(Frozen):
    """A backend and how its programs run.

    Args:
        mode: One of the backend's modes, or several; None for its default.
        layout: Of images inside the program. fold_batch_norm: time the program with its batch norms folded.
    """

    name: str
    mode: Names | None = None
    layout: Literal["auto", "channels_first", "channels_last"] = "auto"
    fold_batch_norm: Flag = False


Choices = Annotated[
    tuple[BackendChoice, ...],
    BeforeValidator(_choices, json_schema_input_type=str | BackendChoice | list[str | BackendChoice]),
    Field(min_length=1),
]


class Axes(Frozen):
    """What varies. Absent axes of an ``include`` entry are those of its block.

    Args:
        architectures: Registered names, or ``file:PATH`` of a network in YAML, relative to the suite.
        backends: Names, or mappings with options.
        image: Sides of square images, or whole shapes [C, H, W]; absent: the architecture's own.
        precision: Precision policies. threads: computing threads, null for all processors.
        device: ``cpu``, ``cuda``, ``cuda:1``. data: the dataset that inputs come from.
        num_classes: Absent: the architecture's own.
        checks, measure: Instead of the suite's for these cells.
    """

    architectures: Names | None = None
    backends: Choices | None = None
    batch: Sizes | None = None
    image: Images | None = None
    precision: Names | None = None
    threads: Threads | None = None
    device: Devices | None = None
    data: str | None = None
    num_classes: PositiveInt | None = None
    checks: CheckNames | None = None
    measure: MeasureNames | None = None


class Exclusion(Frozen):
    """Cells to leave out: those that match every field given (a field with several values matches any)."""

    architecture: Names | None = None
    backend: Names | None = None
    mode: Names | None = None
    batch: Sizes | None = None
    image: Images | None = None
    precision: Names | None = None
    threads: Threads | None = None
    device: Names | None = None


class Block(Axes):
    """The product of its axes, and ``include``, less ``exclude``."""

    architectures: Names
    backends: Choices
    include: tuple[Axes, ...] = ()
    exclude: tuple[Exclusion, ...] = ()


class Checks(Frozen):
    """The numerical checks.

    Args:
        names: Which; each runs once a program, not for each batch size.
        batch: Images in a check. training_steps: optimiser steps of the training check.
    """

    names: CheckNames = CHECKS
    batch: PositiveInt = 2
    training_steps: PositiveInt = 3


class Warmup(Frozen):
    """When the steady state counts as reached: two successive windows of ``window`` calls whose medians agree.

    Args:
        tolerance: Largest relative difference of the two medians. max_calls, max_s: where waiting ends.
    """

    window: PositiveInt = 3
    tolerance: PositiveFloat = 0.1
    max_calls: PositiveInt = 50
    max_s: PositiveFloat = 10.0


class LatencySettings(Frozen):
    """How latency is sampled.

    Args:
        launches: Worker processes of each cell, one after another.
        rounds: Interleaved rounds of each launch.
        samples: Most timed calls of a cell in a round.
        min_samples: Least timed calls of a cell in a round, even where ``max_round_s`` is spent.
        max_round_s: A cell's share of a round ends after this many seconds.
    """

    launches: PositiveInt = 2
    rounds: PositiveInt = 5
    samples: PositiveInt = 10
    min_samples: PositiveInt = 2
    max_round_s: PositiveFloat = 1.0
    warmup: Warmup = Warmup()


class Measure(Frozen):
    """What is measured.

    Args:
        memory: The memory pass, in a fresh worker. yardsticks: this machine's GFLOP/s and GB/s in the same run.
        budget_s: Seconds of timing that a comparison group may take; rounds beyond the third end when it is spent.
    """

    latency: LatencySettings | None = LatencySettings()
    memory: Flag = True
    yardsticks: Flag = True
    budget_s: PositiveFloat | None = None

    @property
    def names(self) -> tuple[MeasureName, ...]:
        """As in ``Cell.measure``."""
        names: list[MeasureName] = []
        if self.latency is not None:
            names.append("latency")
        if self.memory:
            names.append("memory")
        return tuple(names)


class Component(Frozen, extra="allow"):
    """A loss, an optimiser or a schedule: its kind and its fields, or the bare kind."""

    kind: str

    @property
    def fields(self) -> dict[str, Any]:
        """Everything but the kind."""
        return dict(self.__pydantic_extra__ or {})


Part = Annotated[Component, BeforeValidator(_kind, json_schema_input_type=str | Component)]


class Train(Frozen):
    """Training runs: the same seeds, batches and initial weights on every backend.

    Args:
        architectures: Which of the matrix train: once for each backend, mode, precision, device and threads.
        data: The dataset, brought to the cell's image shape. batch: images a step.
        learning_rate: The base rate. schedule: how it changes: ``constant``, ``step``, ``cosine`` ..., with fields.
        envelope_runs: Perturbed reference runs from which the curves' envelope is made.
    """

    architectures: Names
    data: str = "digits"
    epochs: PositiveInt = 3
    batch: PositiveInt = 64
    optimizer: Part = Component(kind="sgd")
    loss: Part = Component(kind="cross_entropy")
    learning_rate: PositiveFloat = 0.05
    schedule: Part = Component(kind="constant")
    envelope_runs: PositiveInt = 3


class LatencyGate(Frozen):
    """Regressed: the interval of head / base lies above 1 + ``threshold``, by ``min_change_s`` or more."""

    threshold: PositiveFloat = 0.1
    min_change_s: Number = Field(default=50e-6, ge=0)


class MemoryGate(Frozen):
    """Regressed: head's peak is above base's by the fraction ``threshold`` and by ``min_change_bytes``."""

    threshold: PositiveFloat = 0.1
    min_change_bytes: Whole = Field(default=8 * 2**20, ge=0)


class AccuracyGate(Frozen):
    """Regressed: test accuracy fell by more than ``margin``, beyond chance on the same test images."""

    margin: Number = Field(default=0.01, ge=0, le=1)


class NumericsGate(Frozen):
    """Regressed: a check fails, or uses more than ``max_budget_used`` of its budget."""

    max_budget_used: PositiveFloat = 1.0


class Gates(Frozen):
    """When a run may not land; null turns one off.

    Args:
        confidence: Of the intervals. false_discovery_rate: expected share of wrong alarms among alarms.
        min_samples: Cells with fewer samples are inconclusive.
    """

    latency: LatencyGate | None = LatencyGate()
    memory: MemoryGate | None = MemoryGate()
    accuracy: AccuracyGate | None = AccuracyGate()
    numerics: NumericsGate | None = NumericsGate()
    confidence: Number = Field(default=0.95, gt=0.5, lt=1)
    false_discovery_rate: Number = Field(default=0.05, gt=0, lt=1)
    min_samples: PositiveInt = 10


class Timeouts(Frozen):
    """After how many seconds a worker counts as hung.

    Args:
        start_s: Until it answers, the framework's import included. compile_s: build, load and first call.
        call_s: Any other single request: a round, a check's pass, a chunk of training.
    """

    start_s: PositiveFloat = 120.0
    compile_s: PositiveFloat = 600.0
    call_s: PositiveFloat = 300.0


Blocks = Annotated[
    tuple[Block, ...], BeforeValidator(_listed, json_schema_input_type=Block | list[Block]), Field(min_length=1)
]


class Suite(Frozen):
    """A suite. ``matrix`` is a block or a list of blocks."""

    schema_version: Literal[1]
    name: str = Field(pattern=NAME)
    description: str = ""
    seed: Whole = Field(default=0, ge=0)
    matrix: Blocks
    checks: Checks = Checks()
    measure: Measure = Measure()
    train: Train | None = None
    gates: Gates = Gates()
    timeouts: Timeouts = Timeouts()

    @field_validator("checks", mode="before", json_schema_input_type=Checks | CheckName | list[CheckName])
    @classmethod
    def _check_names(cls, value: Any) -> Any:
        """A list stands for ``{names: list}``."""
        return {"names": value} if isinstance(value, list | tuple | str) else value
