"""What each pass finds of a cell, kept on disk by itself, and the record that the parts make together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from cnnbench.harness.plain_text import plain_text
from cnnbench.harness.record import (
    Cell,
    CheckOutcome,
    Control,
    Digests,
    Frozen,
    Interval,
    Latency,
    Memory,
    NodeBudget,
    Observed,
    Phases,
    Record,
    RoundRatio,
    Sample,
    Status,
    Training,
)
from cnnbench.measurement.observation import Observation
from cnnbench.measurement.statistics import Estimate, Ratio, grouped, quantile_interval, ratio_interval
from cnnbench.measurement.turn_ratio import ratio_in_turns

LEAST_OBSERVED_S = 0.5  # of processor time: less is too little for a kernel that counts in hundredths of a second
FOREIGN_SHARE = 0.1  # of the machine's processor time, above which a note says that it was not alone


class Origin(Frozen):
    """Where a part was measured.

    Args:
        versions: Of the packages in the worker's interpreter. settings: as asked for and as reported.
    """

    versions: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class ChecksPart(Frozen):
    """The numerical checks of a cell."""

    origin: Origin = Origin()
    outcomes: tuple[CheckOutcome, ...]
    nodes: tuple[NodeBudget, ...] = ()


class LaunchPart(Frozen):
    """What one launch of the workers gave of a cell.

    Args:
        calls_per_sample: A sample is the mean of so many calls, each waited for.
        outputs: Digest of what the first call gave.
        observations: One a round. apart: whether the launch was measured without the rest of its group.
        control: Timed calls of the same program in another worker, in the same rounds; () where the cell has none.
    """

    origin: Origin = Origin()
    launch: int
    phases: Phases
    steady: bool
    calls_per_sample: int
    samples: tuple[Sample, ...]
    observations: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    outputs: str | None = None
    apart: bool = False
    control: tuple[Sample, ...] = ()


class MemoryPart(Frozen):
    """The memory pass of a cell; ``note`` says why there is no figure."""

    origin: Origin = Origin()
    phases: Phases
    memory: Memory | None
    outputs: str | None = None
    note: str | None = None


class TrainingPart(Frozen):
    """The training run of a cell."""

    origin: Origin = Origin()
    training: Training


class CurvePart(Frozen):
    """The losses of a reference run on the side, as far as it went."""

    origin: Origin = Origin()
    losses: tuple[float, ...]


class Failure(Frozen):
    """Why a cell ended before its end."""

    status: Status
    reason: Annotated[str, AfterValidator(plain_text)]


@dataclass(frozen=True)
class Parts:
    """All that is known of a cell so far."""

    checks: ChecksPart | None = None
    launches: tuple[LaunchPart, ...] = ()
    memory: MemoryPart | None = None
    training: TrainingPart | None = None

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every timed call, launch by launch."""
        return tuple(sample for part in self.launches for sample in part.samples)

    @property
    def outputs(self) -> str | None:
        """The digest of what the timed program gave, in its first launch."""
        found = (*(part.outputs for part in self.launches), self.memory.outputs if self.memory else None)
        return next((digest for digest in found if digest is not None), None)

    @property
    def origin(self) -> Origin:
        """Of the first part that has one."""
        found = (self.launches[0] if self.launches else None, self.memory, self.training, self.checks)
        return next((part.origin for part in found if part is not None), Origin())


def assemble(
    cell: Cell,
    parts: Parts,
    *,
    failure: Failure | None,
    digests: Digests | None,
    started_utc: str,
    metrics: Mapping[str, Callable[[Record], float | None]] | None = None,
) -> Record:
    """The record that the parts make. A metric that raises is left out."""
    record = Record(
        cell=cell,
        status=failure.status if failure else "ok",
        reason=failure.reason if failure else None,
        started_utc=started_utc,
        finished_utc=now_utc(),
        digests=digests,
        outputs=parts.outputs,
        phases=_phases(parts),
        latency=_latency(cell, parts.launches),
        control=_control(parts.launches, in_turns=cell.side == "base"),
        memory=parts.memory.memory if parts.memory else None,
        observed=_observed(parts),
        checks=parts.checks.outcomes if parts.checks else (),
        training=parts.training.training if parts.training else None,
        versions=parts.origin.versions,
        settings=parts.origin.settings,
    )
    computed = {name: value for name, compute in (metrics or {}).items() if (value := compute(record)) is not None}
    return record.model_copy(update={"metrics": computed}) if computed else record


def foreign_load(records: Iterable[Record]) -> str | None:
    """One sentence where other processes took part of the machine while cells were timed; None where it was alone."""
    shares = [record.observed.foreign_fraction or 0.0 for record in records if record.latency]
    disturbed = [share for share in shares if share > FOREIGN_SHARE]
    if not disturbed:
        return None
    return (
        f"other processes used up to {max(disturbed):.0%} of the machine while {len(disturbed)} of {len(shares)} cells "
        "were timed: their latencies say little"
    )


def now_utc() -> str:
    """Now, as records write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _phases(parts: Parts) -> Phases:
    """The first launch's, because later ones may find compiled code in a cache."""
    if not parts.launches:
        return parts.memory.phases if parts.memory else Phases()
    first = parts.launches[0]
    phases = first.phases
    if phases.compile_s is None and phases.first_call_s is not None and first.samples:
        steady_s = sorted(sample.latency_s for sample in first.samples)[len(first.samples) // 2]
        phases = phases.model_copy(update={"compile_s": max(0.0, phases.first_call_s - steady_s)})
    return phases


def _latency(cell: Cell, launches: Sequence[LaunchPart]) -> Latency | None:
    samples = [sample for part in launches for sample in part.samples]
    if not samples:
        return None
    rounds = grouped(samples)
    middle, p90, p99 = (quantile_interval(rounds, q) for q in (0.5, 0.9, 0.99))
    calls = max(part.calls_per_sample for part in launches)
    notes = [f"each sample is the mean of up to {calls} calls"] if calls > 1 else []
    if len(samples) < 100:
        notes.append(f"p99 is extrapolated from {len(samples)} samples")
    apart = [str(part.launch) for part in launches if part.apart]
    if apart:
        notes.append(f"launch {', '.join(apart)} was measured apart from its group")
    return Latency(
        median_s=_interval(middle),
        p90_s=_interval(p90),
        p99_s=_interval(p99),
        throughput_images_per_s=Interval(
            value=cell.batch / middle.value,
            low=cell.batch / middle.high,
            high=cell.batch / middle.low,
            confidence=middle.confidence,
        ),
        samples=len(samples),
        rounds=len({key[1] for key in rounds}),
        launches=len({key[0] for key in rounds}),
        steady=all(part.steady for part in launches),
        note="; ".join(notes) or None,
    )


def _control(launches: Sequence[LaunchPart], *, in_turns: bool) -> Control | None:
    """The control's latency over the cell's, round by round; by calls that follow each other in an A/B run."""
    ours = grouped([sample for part in launches for sample in part.samples])
    theirs = grouped([sample for part in launches for sample in part.control])
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    ratio = ratio_in_turns if in_turns else ratio_interval
    ratios = tuple(
        RoundRatio(
            launch=launch,
            round=number,
            ratio=ratio({(0, 0): theirs[launch, number]}, {(0, 0): ours[launch, number]}).value,
        )
        for launch, number in common
    )
    found = ratio(theirs, ours)
    return Control(ratio=_interval(found), rounds=ratios)


def _interval(estimate: Estimate | Ratio) -> Interval:
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high, confidence=estimate.confidence)


def _observed(parts: Parts) -> Observed:
    rounds = [Observation(**values) for part in parts.launches for values in part.observations]
    notes = tuple(dict.fromkeys(note for part in parts.launches for note in part.notes))
    if parts.memory and parts.memory.note:
        notes = (*notes, parts.memory.note)
    if not rounds:
        return Observed(notes=notes)
    wall = sum(item.wall_s for item in rounds)
    machine = sum(item.machine_s or 0.0 for item in rounds)
    foreign = [item.foreign_s for item in rounds if item.foreign_s is not None]
    share = sum(foreign) / machine if foreign and machine >= LEAST_OBSERVED_S else None
    if share is not None and share > FOREIGN_SHARE:
        notes = (*notes, f"other processes used {share:.0%} of the machine while it was timed")
    switches = [item.involuntary_switches for item in rounds if item.involuntary_switches is not None]
    frequencies = [item.frequency_hz for item in rounds if item.frequency_hz is not None]
    return Observed(
        threads=sum(item.processor_s for item in rounds) / wall if wall else None,
        stolen_fraction=sum(item.stolen_s or 0.0 for item in rounds) / machine if machine else None,
        foreign_fraction=share,
        involuntary_switches=sum(switches) if switches else None,
        frequency_hz=fmean(frequencies) if frequencies else None,
        notes=notes,
    )
