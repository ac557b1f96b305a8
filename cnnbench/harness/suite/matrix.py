"""The matrix of a suite: what varies, and the short forms in which it may be written."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, Strict

from cnnbench.spec.frozen import Frozen

CheckName = Literal[
    "local",
    "exact",
    "end_to_end",
    "timed",
    "special",
    "gradient",
    "determinism",
    "gradient_determinism",
    "training",
    "classes",
]
MeasureName = Literal["latency", "memory"]
CHECKS: tuple[CheckName, ...] = get_args(CheckName)

LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 1e9  # what a worker, a clock or a file can still take

Whole = Annotated[int, Strict(), Field(le=2**63 - 1)]
PositiveInt = Annotated[int, Strict(), Field(gt=0, le=LARGEST_INT)]
Number = Annotated[float, Strict(), Field(le=LARGEST_FLOAT, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Strict(), Field(gt=0, le=LARGEST_FLOAT, allow_inf_nan=False)]
Seed = Annotated[Whole, Field(ge=0)]
Flag = Annotated[bool, Strict()]

DEVICE = r"^(cpu|[a-z]+(:[0-9]+)?)$"


def listed(value: Any) -> Any:
    """A scalar or a mapping where a list may stand counts as a list of one."""
    return [value] if value is not None and not isinstance(value, list | tuple) else value


def _images(value: Any) -> Any:
    """Each entry as (side,) or (C, *spatial): a bare number is the side of a square image."""
    entries = listed(value)
    if not isinstance(entries, list | tuple):
        return entries
    return [[entry] if isinstance(entry, int) and not isinstance(entry, bool) else entry for entry in entries]


def _threads(value: Any) -> Any:
    return [None] if value is None else listed(value)


def _choices(value: Any) -> Any:
    """A backend may be written as its bare name."""
    entries = listed(value)
    if not isinstance(entries, list | tuple):
        return entries
    return [{"name": entry} if isinstance(entry, str) else entry for entry in entries]


Names = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=str | list[str]), Field(min_length=1)]
Sizes = Annotated[
    tuple[PositiveInt, ...],
    BeforeValidator(listed, json_schema_input_type=PositiveInt | list[PositiveInt]),
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
    BeforeValidator(listed, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]
CheckNames = Annotated[
    tuple[CheckName, ...], BeforeValidator(listed, json_schema_input_type=CheckName | list[CheckName])
]
MeasureNames = Annotated[
    tuple[MeasureName, ...], BeforeValidator(listed, json_schema_input_type=MeasureName | list[MeasureName])
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
        architectures: Registered names, or ``file:PATH`` of a network in YAML or ONNX, relative to the suite.
        backends: Names, or mappings with options.
        image: Sides of square images, or whole shapes [C, H, W]; absent: the architecture's own.
        precision: Precision policies. threads: computing threads, null for all processors.
        device: ``cpu``, ``cuda``, ``cuda:1``. data: the dataset that inputs come from.
        num_classes: Absent: the architecture's own.
        weights: A file of trained weights, relative to the suite, or ``package:MODULE/PATH`` of a file in an installed
            package; absent: those that the network's file has, else seeded ones.
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
    weights: str | None = None
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
