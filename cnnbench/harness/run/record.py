"""What is written of a cell: one frozen value, versioned, in SI units; everything that is shown or judged reads it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cnnbench.harness.passes.findings import Digests, Memory, Phases, Training
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.status import EXIT_CODES, UNPROVEN, Status
from cnnbench.measurement.levels import Covers
from cnnbench.numerics.outcome import CheckOutcome, why_unproven
from cnnbench.spec.frozen import Frozen

SCHEMA_VERSION = 1


class Interval(Frozen):
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float = 0.95


class Latency(Frozen):
    """Steady-state latency of one batch.

    Args:
        covers: What the median's interval covers: how this run and earlier ones differ, how launches differ, how the
            rounds of the only launch do, how the calls of the only round do, or nothing. None in records of before.
        steady: Whether the steady state was reached before sampling.
    """

    median_s: Interval
    p90_s: Interval
    p99_s: Interval
    throughput_images_per_s: Interval
    covers: Covers | None = None
    samples: int
    rounds: int
    launches: int
    steady: bool
    note: str | None = None


class RoundRatio(Frozen):
    """A round's median of the control over the cell's."""

    launch: int
    round: int
    ratio: float = Field(gt=0)


class Control(Frozen):
    """An A/A comparison: the cell's program in a second worker, timed in the same rounds. The truth is a ratio of 1.

    Args:
        ratio: Control / cell with its interval.
        rounds: The ratio of each round.
    """

    ratio: Interval
    rounds: tuple[RoundRatio, ...]


class Observed(Frozen):
    """What the machine did while the cell was timed."""

    threads: float | None = None  # processor time / wall time
    stolen_fraction: float | None = None
    foreign_fraction: float | None = None  # of all processors' time, used by other processes
    involuntary_switches: int | None = None
    frequency_hz: float | None = None
    notes: tuple[str, ...] = ()


class Record(Frozen):
    """All that is known of a cell. Samples lie beside it in ``samples.jsonl``, node budgets in ``numerics.json``.

    Args:
        files: SHA-256 of what lies beside it, by the file's name; None in records of old versions.
    """

    schema_version: int = SCHEMA_VERSION
    cell: Cell
    status: Status
    reason: str | None = None
    started_utc: str
    finished_utc: str
    digests: Digests | None = None
    outputs: str | None = None  # SHA-256 of what the timed program's first call gave
    phases: Phases = Phases()
    latency: Latency | None = None
    control: Control | None = None
    memory: Memory | None = None
    observed: Observed = Observed()
    checks: tuple[CheckOutcome, ...] = ()
    training: Training | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)  # requested and reported: threads, allocator, flags
    metrics: dict[str, float] = Field(default_factory=dict)  # from ``cnnbench_metrics`` plugins
    files: dict[str, str] | None = None

    @property
    def exit_code(self) -> int:
        """0, 3, 4, or 5 where it leaves a question open."""
        return EXIT_CODES.get(self.status, 0 if self.inconclusive is None else UNPROVEN)

    @property
    def inconclusive(self) -> str | None:
        """Why it ended and leaves a question open: its checks prove nothing, or its training missed the target."""
        return self.unproven or (self.training.missed_target if self.training else None)

    @property
    def unproven(self) -> str | None:
        """Why the checks do not prove the program, though none failed; None where they do or none was asked for."""
        return why_unproven(self.checks)

    @property
    def is_unproven(self) -> bool:
        """Whether a check failed, or those that were asked for do not prove the program."""
        failed = any(outcome.status == "failed" for outcome in self.checks)
        return failed or bool(self.cell.checks and not self.checks) or self.unproven is not None

    def check(self, name: str) -> CheckOutcome | None:
        """The outcome of a check, or None where it was not asked for."""
        return next((outcome for outcome in self.checks if outcome.name == name), None)
