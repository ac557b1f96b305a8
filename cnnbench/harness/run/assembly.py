"""The record that the findings of a cell's passes make together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from cnnbench.harness.passes.findings import Digests, Failure, LaunchPart, Parts, Phases
from cnnbench.harness.run.record import Control, Interval, Latency, Observed, Record, RoundRatio
from cnnbench.harness.suite.cell import Cell
from cnnbench.measurement.clock import now_utc
from cnnbench.measurement.statistics import Estimate, Ratio, grouped, quantile_interval, ratio_interval
from cnnbench.measurement.turn_ratio import ratio_in_turns

LEAST_OBSERVED_S = 0.5  # of processor time: less is too little for a kernel that counts in hundredths of a second
FOREIGN_SHARE = 0.1  # of the machine's processor time, above which a note says that it was not alone


def assemble(
    cell: Cell,
    parts: Parts,
    *,
    failure: Failure | None,
    digests: Digests | None,
    started_utc: str,
) -> Record:
    """The record that the parts make.

    Args:
        cell: Whose record it is.
        parts: What passes found of it.
        failure: How it ended early; None where it did not.
        digests: Of what went in; None where that was never made.
        started_utc: When its work began.
    """
    return Record(
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
        checks=tuple(outcome.without_nodes() for outcome in parts.checks.outcomes) if parts.checks else (),
        training=parts.training.training if parts.training else None,
        versions=parts.origin.versions,
        settings=parts.origin.settings,
    )


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
    rounds = [observed for part in parts.launches for observed in part.observations]
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
