"""What a suite may say: the model of its YAML file, strict in keys and types, with every default."""

from __future__ import annotations

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
    PositiveFloat,
    PositiveInt,
    Seed,
    listed,
)
from cnnbench.harness.suite.program_training import Programs
from cnnbench.harness.suite.recipes import NAME, Train
from cnnbench.harness.suite.timeouts import Timeouts
from cnnbench.measurement.sampling import SampleSettings
from cnnbench.spec.frozen import Frozen


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
