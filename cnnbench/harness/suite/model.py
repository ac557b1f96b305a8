"""What a suite may say: the model of its YAML file, strict in keys and types, with every default."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cnnbench.harness.suite.claim_settings import ClaimSettings
from cnnbench.harness.suite.gates import Gates
from cnnbench.harness.suite.matrix import (
    CHECKS,
    Block,
    CheckName,
    CheckNames,
    Flag,
    MeasureName,
    Names,
    Number,
    PositiveFloat,
    PositiveInt,
    Seed,
    Whole,
    listed,
)
from cnnbench.harness.suite.program_training import Programs
from cnnbench.harness.suite.timeouts import Timeouts
from cnnbench.measurement.sampling import SampleSettings
from cnnbench.spec.frozen import Frozen

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


def _kind(value: Any) -> Any:
    """A loss, an optimiser or a schedule may be written as its bare kind."""
    return {"kind": value} if isinstance(value, str) else value


def _not_finite(fields: dict[str, Any]) -> str | None:
    """The name of a field that holds an infinite number or none, at any depth."""

    def holds(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(holds, value.values()))
        if isinstance(value, list | tuple):
            return any(map(holds, value))
        return isinstance(value, float) and not math.isfinite(value)

    return next((name for name, value in fields.items() if holds(value)), None)


class Checks(Frozen):
    """The numerical checks.

    Args:
        names: Which; each runs once a program, not for each batch size.
        batch: Images in a check. training_steps: optimiser steps of the training check.
        thorough: Whether each check also does what costs much.
    """

    names: CheckNames = CHECKS
    batch: PositiveInt = 2
    training_steps: PositiveInt = 3
    thorough: bool = False


class Warmup(Frozen):
    """When the steady state counts as reached: two successive windows of ``window`` calls whose medians agree.

    Args:
        tolerance: Largest relative difference of the two medians. max_calls, max_s: where waiting ends.
    """

    window: PositiveInt = 3
    tolerance: PositiveFloat = 0.1
    max_calls: PositiveInt = 50
    max_s: PositiveFloat = 10.0


class Sequential(Frozen):
    """More launches of the cells that an A/B comparison leaves undecided (``cnnbench ab`` only).

    Args:
        max_launches: Most launches of a cell, the suite's ``launches`` among them.
        budget_s: No launch of a comparison group begins once timing has taken so many seconds.
    """

    max_launches: PositiveInt
    budget_s: PositiveFloat = 600.0


class LatencySettings(Frozen):
    """How latency is sampled.

    Args:
        launches: Worker processes of each cell, one after another.
        rounds: Interleaved rounds of each launch.
        samples: Most timed calls of a cell in a round.
        min_samples: Least timed calls of a cell in a round, even where ``max_round_s`` is spent.
        max_round_s: A cell's share of a round ends after this many seconds.
        controls: Whether one cell of each comparison group is timed in a second worker too: an A/A comparison, which
            shows what chance alone does to a ratio here.
        sequential: Whether and how far an A/B comparison goes on with the cells that are undecided.
    """

    launches: PositiveInt = 3
    rounds: PositiveInt = 4
    samples: PositiveInt = 9
    min_samples: PositiveInt = 2
    max_round_s: PositiveFloat = 1.0
    warmup: Warmup = Warmup()
    controls: Flag = True
    sequential: Sequential | None = None

    @model_validator(mode="after")
    def _sequential_goes_further(self) -> LatencySettings:
        if self.sequential is not None and self.sequential.max_launches <= self.launches:
            raise ValueError(
                f"sequential.max_launches must be more than launches ({self.launches}), "
                f"not {self.sequential.max_launches}"
            )
        return self

    def sampling(self) -> SampleSettings:
        """How a worker warms up and samples."""
        return SampleSettings(
            samples=self.samples,
            min_samples=min(self.min_samples, self.samples),
            max_round_s=self.max_round_s,
            window=self.warmup.window,
            tolerance=self.warmup.tolerance,
            max_warmup_samples=self.warmup.max_calls,
            max_warmup_s=self.warmup.max_s,
        )

    @property
    def most_launches(self) -> int:
        """Launches that a cell may have."""
        return self.sequential.max_launches if self.sequential else self.launches


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

    @model_validator(mode="after")
    def _finite(self) -> Component:
        if (name := _not_finite(self.fields)) is not None:
            raise ValueError(f"a finite number for {name}")
        return self

    @property
    def fields(self) -> dict[str, Any]:
        """Everything but the kind."""
        return dict(self.__pydantic_extra__ or {})


Part = Annotated[Component, BeforeValidator(_kind, json_schema_input_type=str | Component)]


class AugmentationSettings(Frozen):
    """How training images vary.

    Args:
        flip, crop_padding, cutout, mixup, jitter, rotation, scale: As ``Augmentation`` has them.
    """

    flip: Flag = False
    crop_padding: Whole = Field(default=0, ge=0)
    cutout: Whole = Field(default=0, ge=0)
    mixup: Number = Field(default=0.0, ge=0)
    jitter: Number = Field(default=0.0, ge=0, le=1)
    rotation: Number = Field(default=0.0, ge=0, le=180)
    scale: Number = Field(default=0.0, ge=0, le=0.9)


class Train(Frozen):
    """Training runs: the same seeds, batches and initial weights on every backend.

    Args:
        architectures: Which of the matrix train: once for each backend, mode, precision, device and threads.
        data: The dataset, brought to the cell's image shape. batch: images a step.
        learning_rate: The base rate. schedule: how it changes: ``constant``, ``step``, ``cosine`` ..., with fields.
        initializer: By which named rule weights start; null for what the layers say.
        train_images, test_images: At most so many, chosen by the seed; null for all.
        target: It ends after the first epoch that is as good in the main metric, accuracy of a classifier.
        envelope_runs: Perturbed runs of NumPy from which the envelope of the curves is made.
    """

    architectures: Names
    data: str = "digits"
    epochs: PositiveInt = 3
    batch: PositiveInt = 64
    optimizer: Part = Component(kind="sgd")
    loss: Part = Component(kind="cross_entropy")
    learning_rate: PositiveFloat = 0.05
    schedule: Part = Component(kind="constant")
    augmentation: AugmentationSettings = AugmentationSettings()
    initializer: str | None = None
    train_images: PositiveInt | None = None
    test_images: PositiveInt | None = None
    target: Number | None = None
    envelope_runs: PositiveInt = 3


Blocks = Annotated[
    tuple[Block, ...], BeforeValidator(listed, json_schema_input_type=Block | list[Block]), Field(min_length=1)
]


class Suite(Frozen):
    """A suite. ``matrix`` is a block or a list of blocks, ``programs`` a training by a program or a list of them."""

    schema_version: Literal[1]
    name: str = Field(pattern=NAME)
    description: str = ""
    seed: Seed = 0
    matrix: Blocks
    checks: Checks = Checks()
    measure: Measure = Measure()
    train: Train | None = None
    programs: Programs = ()
    claims: ClaimSettings | None = None
    gates: Gates = Gates()
    timeouts: Timeouts = Timeouts()

    @field_validator("checks", mode="before", json_schema_input_type=Checks | CheckName | list[CheckName])
    @classmethod
    def _check_names(cls, value: Any) -> Any:
        """A list stands for ``{names: list}``."""
        return {"names": value} if isinstance(value, list | tuple | str) else value
