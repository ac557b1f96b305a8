"""What a run shows while it goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cnnbench.cli.progress import Bars, Lines, describe, progress
from cnnbench.harness.passes import events
from cnnbench.harness.run import events as run_events
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.measurement.clock import ManualClock
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.training.epoch import Epoch

CELL = Cell(
    id="net-numpy-fast-b1",
    key="k",
    group="g",
    architecture="net",
    backend="numpy",
    mode="fast",
    batch=1,
    image=(1, 8, 8),
)
RECORD = Record(
    cell=CELL, status="crashed", reason="signal 9\nmore", started_utc="2026-01-01", finished_utc="2026-01-01"
)
STORY = [
    run_events.RunStarted(Path("reports/runs/s/1"), (CELL,), 4),
    events.WorkBegun(CELL.id, "compile"),
    events.UnitsDone(2),
    events.CheckFinished(CELL.id, CheckOutcome(name="local", status="passed", budget_used=0.25)),
    events.CheckFinished(CELL.id, CheckOutcome(name="exact", status="failed", node="conv1")),
    events.RoundFinished("g", 0, 1, ((CELL.id, 0.0125),)),
    events.EpochFinished(
        CELL.id, Epoch(epoch=1, step=5, train_loss=0.5, test_loss=0.6, test_accuracy=0.875, seconds=2.0)
    ),
    events.NoteAdded("a worker was started again"),
    events.UnitsDone(2),
    run_events.CellRecorded(RECORD, Path("x")),
    run_events.RunFinished(Path("x"), 3),
]


def told(**options: bool) -> list[str]:
    stream = io.StringIO()
    with progress(stream=stream, **options) as listen:
        for event in STORY:
            listen(event)
    return [line.partition("] ")[2] for line in stream.getvalue().splitlines()]


def test_plain_lines_tell_what_matters() -> None:
    assert told() == [
        "1 cells, records in reports/runs/s/1",
        "net-numpy-fast-b1: exact failed at conv1",
        "net-numpy-fast-b1: epoch 1, loss 0.5000, test accuracy 87.50% (2.0 s)",
        "note: a worker was started again",
        "net-numpy-fast-b1: crashed, signal 9",
    ]


def test_verbose_tells_rounds_and_steps_too() -> None:
    lines = told(verbose=True)
    assert f"{CELL.id}: compile" in lines
    assert "net-numpy-fast-b1: local passed, 25.0 % of the budget" in lines
    assert "g: launch 1, round 2: net-numpy-fast-b1 12.5 ms" in lines


def test_quiet_tells_notes_only() -> None:
    assert told(quiet=True) == ["note: a worker was started again"]


def test_a_long_silence_is_broken_by_the_next_step() -> None:
    time, stream = ManualClock(), io.StringIO()
    listen = Lines(stream, clock=time.clock)
    for seconds, text in ((9.0, "early"), (2.0, "late"), (1.0, "soon after"), (18.0, "late again")):
        time.advance(seconds)
        listen(events.WorkBegun(CELL.id, text))
    assert [line.partition("] ")[2] for line in stream.getvalue().splitlines()] == [
        f"{CELL.id}: late",
        f"{CELL.id}: late again",
    ]


def test_lines_show_how_far_the_run_is() -> None:
    stream = io.StringIO()
    listen = Lines(stream)
    for event in STORY:
        listen(event)
    shares = [line.partition("]")[0].split()[-1] for line in stream.getvalue().splitlines()]
    assert shares == ["0%", "50%", "50%", "50%", "100%"]


def test_bars_count_to_the_work_and_print_brackets_as_they_are() -> None:
    from rich.console import Console
    from rich.progress import Progress

    stream = io.StringIO()
    bar = Progress(console=Console(file=stream, force_terminal=False))
    listen = Bars(bar)
    for event in (*STORY, events.NoteAdded("see [bold]this[/bold]")):
        listen(event)
    assert (bar.tasks[0].completed, bar.tasks[0].total) == (4, 4)
    assert bar.tasks[0].description == f"{CELL.id}: compile"
    assert "note: see [bold]this[/bold]" in stream.getvalue()


def test_ci_gets_lines_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("CI", "true")
    with progress(stream=Terminal()) as listen:
        assert isinstance(listen, Lines)
    monkeypatch.delenv("CI")
    monkeypatch.setenv("TERM", "xterm")
    with progress(stream=Terminal()) as listen:
        assert isinstance(listen, Bars)


@pytest.mark.parametrize("event", [events.UnitsDone(1), run_events.RunFinished(Path("x"), 0)])
def test_bookkeeping_is_not_told(event: events.Event) -> None:
    assert describe(event, verbose=True) is None
