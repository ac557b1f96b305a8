"""The record that the findings of a cell's passes make together."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from cnnbench.harness.passes.findings import Digests, Failure, Parts, Phases
from cnnbench.harness.run.latencies import CellFigures
from cnnbench.harness.run.record import Observed, Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.measurement.clock import now_utc

LEAST_OBSERVED_S = 0.5  # of processor time: less is too little for a kernel that counts in hundredths of a second
FOREIGN_SHARE = 0.1  # of the machine's processor time, above which a note says that it was not alone


def assemble(
    cell: Cell,
    parts: Parts,
    figures: CellFigures,
    *,
    failure: Failure | None,
    digests: Digests | None,
    started_utc: str,
) -> Record:
    """The record that the parts make.

    Args:
        cell: Whose record it is.
        parts: What passes found of it.
        figures: What timing shows of it.
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
        latency=figures.latency,
        control=figures.control,
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
