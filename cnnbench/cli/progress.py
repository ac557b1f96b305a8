"""Shows a run while it goes on: bars on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from cnnbench.harness.passes import events
from cnnbench.harness.run import events as run_events
from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.output import figures

if TYPE_CHECKING:
    from rich.progress import Progress

    from cnnbench.harness.run.record import Record


@contextmanager
def progress(
    *, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
) -> Iterator[run_events.Listener]:
    """A listener for a run, closed at the end.

    Args:
        quiet: Shows nothing but notes.
        verbose: Shows every round and step too.
        stream: Where to write; stderr where None.
    """
    target = stream or sys.stderr
    if quiet:
        yield Lines(target, quiet=True)
    elif is_interactive(target):
        with _bar(target) as bar:
            yield Bars(bar, verbose=verbose)
    else:
        yield Lines(target, verbose=verbose)


def is_interactive(stream: TextIO) -> bool:
    """Whether a person watches: a terminal that can move its cursor, and no CI."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


SILENCE_S = 10.0


class Lines:
    """One line for each thing that happened, with the seconds since the start.

    Where nothing was written for ``SILENCE_S`` seconds, the next step is written too, as a sign of life.
    """

    def __init__(self, stream: TextIO, *, verbose: bool = False, quiet: bool = False, clock: Clock = MACHINE) -> None:
        self._stream, self._clock = stream, clock
        self._verbose = verbose
        self._quiet = quiet
        self._start_s = self._clock.now()
        self._written_s = self._start_s
        self._work = 0
        self._done = 0

    def __call__(self, event: run_events.Event) -> None:
        if isinstance(event, run_events.RunStarted):
            self._work = event.work
        elif isinstance(event, events.UnitsDone):
            self._done += event.units
        now_s = self._clock.now()
        text = describe(event, verbose=self._verbose or now_s - self._written_s > SILENCE_S)
        if text is None or (self._quiet and not isinstance(event, events.NoteAdded)):
            return
        self._written_s = now_s
        share = f" {min(100, 100 * self._done // self._work):3d}%" if self._work else ""
        print(f"[{now_s - self._start_s:7.1f}s{share}] {text}", file=self._stream, flush=True)


class Bars:
    """A bar of the whole run with what goes on now; what happened scrolls above it."""

    def __init__(self, bar: Progress, *, verbose: bool = False) -> None:
        self._bar = bar
        self._verbose = verbose
        self._task = bar.add_task("starting", total=None)

    def __call__(self, event: run_events.Event) -> None:
        if isinstance(event, run_events.RunStarted):
            self._bar.update(self._task, total=event.work)
        elif isinstance(event, events.UnitsDone):
            self._bar.advance(self._task, event.units)
        elif isinstance(event, events.WorkBegun):
            self._bar.update(self._task, description=f"{event.cell}: {event.what}")
            return
        text = describe(event, verbose=self._verbose)
        if text is not None:
            self._bar.console.print(text, markup=False, highlight=False)


def _bar(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(file=stream),
        transient=True,
    )


def describe(event: run_events.Event, *, verbose: bool = False) -> str | None:
    """An event in one line; None for one that is not worth a line."""
    match event:
        case run_events.RunStarted():
            return f"{len(event.cells)} cells, records in {event.folder}"
        case events.ClaimTried():
            return f"claim {event.claim.name} on {event.claim.backend}: {event.reply.verdict}"
        case events.CheckFinished() if event.outcome.status == "failed" or verbose:
            used = ""
            if event.outcome.budget_used is not None:
                used = f", {figures.budget_used(event.outcome.budget_used)} of the budget".replace("times of", "times")
            where = f" at {event.outcome.node}" if event.outcome.node and event.outcome.status == "failed" else ""
            return f"{event.cell}: {event.outcome.name} {event.outcome.status}{where}{used}"
        case events.EpochFinished():
            epoch = event.epoch
            return (
                f"{event.cell}: epoch {epoch.epoch}, loss {epoch.train_loss:.4f}, "
                f"{epoch.in_words} ({epoch.seconds:.1f} s)"
            )
        case run_events.CellRecorded():
            return f"{event.record.cell.id}: {outcome(event.record)}{' (from before)' if event.resumed else ''}"
        case events.NoteAdded():
            return f"note: {event.text}"
        case events.RoundFinished() if verbose:
            medians = ", ".join(f"{cell} {median * 1e3:.3g} ms" for cell, median in event.medians_s)
            return f"{event.group}: launch {event.launch + 1}, round {event.round + 1}: {medians}"
        case events.WorkBegun() if verbose:
            return f"{event.cell}: {event.what}"
        case _:
            return None


def outcome(record: Record) -> str:
    """What became of a cell, in a few words."""
    parts: list[str] = [record.status]
    if record.reason:
        parts.append(record.reason.splitlines()[0])
    if record.latency is not None:
        parts.append(f"median {record.latency.median_s.value * 1e3:.3g} ms")
    if record.training is not None:
        parts.append(record.training.in_words)
        if record.training.missed_target is not None:
            parts.append(record.training.missed_target)
    return ", ".join(parts)
