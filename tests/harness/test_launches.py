"""Sequential sampling in a run: more launches of the cells that are named, and of no others."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from pydantic import ValidationError
from small_suite import small_suite

from cnnbench.errors import WorkerError
from cnnbench.harness.passes import rounds
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import plan, two_sided
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.protocol.timing import (
    BeginTurnsRequest,
    EndTurnsReply,
    EndTurnsRequest,
    SampleRequest,
    TurnRequest,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def suite(controls=True, **sequential):
    sampling = {"launches": 1, "controls": controls, "sequential": {"max_launches": 4} | sequential}
    return small_suite("sequential", matrix={"batch": [1, 2], "threads": 1}, latency=sampling)


def of_batch(batch, until):
    """The cells of a batch size go on until they have so many launches."""

    def undecided(timed):
        return frozenset(
            cell.key
            for cell, samples in timed
            if cell.batch == batch and {s.launch for s in samples} < set(range(until))
        )

    return undecided


def launches(result):
    """By batch and side: the launches of the samples on disk."""
    store = RunStore.open(result.folder)
    return {
        (record.cell.batch, record.cell.side): sorted({sample.launch for sample in store.read_samples(name)})
        for name, record in store.records().items()
        if record.status == "ok"
    }


def test_only_what_is_undecided_goes_on(tmp_path):
    result = run(two_sided(plan(suite())), RunOptions(root=tmp_path, undecided=of_batch(2, 3)))
    assert launches(result) == {
        (1, "base"): [0], (1, "head"): [0], (2, "base"): [0, 1, 2], (2, "head"): [0, 1, 2]
    }  # fmt: skip
    assert not any("undecided" in note for note in result.summary.notes)


def test_what_comes_open_again_makes_up_for_its_launches(tmp_path):
    """One image decides at once; two make three launches, and then one image is open until it has three, too."""

    def undecided(timed):
        made = {cell.batch: {sample.launch for sample in samples} for cell, samples in timed}
        wanted = {1: 3 if len(made[2]) == 3 else 0, 2: 3}
        return frozenset(cell.key for cell, _ in timed if len(made[cell.batch]) < wanted[cell.batch])

    result = run(two_sided(plan(suite())), RunOptions(root=tmp_path, undecided=undecided))
    assert set(map(tuple, launches(result).values())) == {(0, 1, 2)}


def test_it_ends_with_the_most_launches_and_says_so(tmp_path):
    result = run(two_sided(plan(suite())), RunOptions(root=tmp_path, undecided=of_batch(1, 99)))
    assert launches(result)[1, "head"] == launches(result)[1, "base"] == [0, 1, 2, 3]
    assert "sampling ended with 1 cells undecided: each has its most launches" in result.summary.notes


def test_it_ends_when_the_time_is_spent(tmp_path):
    result = run(two_sided(plan(suite(budget_s=0.001))), RunOptions(root=tmp_path, undecided=of_batch(1, 99)))
    assert launches(result)[1, "head"] == [0]
    assert "sampling ended with 1 cells undecided: the time is spent" in result.summary.notes


def test_a_run_that_compares_nothing_makes_the_suites_launches(tmp_path):
    result = run(plan(suite()), RunOptions(root=tmp_path))
    assert launches(result) == {(1, "head"): [0], (2, "head"): [0]}


def test_an_interruption_in_a_further_launch_loses_and_repeats_nothing(tmp_path, monkeypatch):
    in_turns = rounds._in_turns
    seen = []

    def interrupted(session, pool, block, launch, number, *rest):
        if launch == 2 and len(seen) < 100:
            seen.extend(range(100))
            raise KeyboardInterrupt
        in_turns(session, pool, block, launch, number, *rest)

    monkeypatch.setattr(rounds, "_in_turns", interrupted)
    work, undecided = two_sided(plan(suite())), of_batch(2, 4)
    first = run(work, RunOptions(root=tmp_path, undecided=undecided))
    assert first.summary.interrupted
    parts = {path: path.stat().st_mtime_ns for path in first.folder.glob("cells/*/parts/launch-[01].json")}
    assert len(parts) == 6
    again = run(work, RunOptions(root=tmp_path, resume=first.folder, undecided=undecided))
    assert launches(again) == {
        (1, "base"): [0], (1, "head"): [0], (2, "base"): [0, 1, 2, 3], (2, "head"): [0, 1, 2, 3]
    }  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in parts} == parts


def test_a_side_that_is_missing_is_measured_with_the_other(tmp_path):
    """Rounds pair because they were run at one time: a side that was killed costs the other's launch too."""
    work = two_sided(plan(suite()))
    options = RunOptions(root=tmp_path, undecided=of_batch(2, 1))
    first = run(work, options)
    lost, kept = (next(first.folder.glob(f"cells/*-b1-*{end}/parts/launch-0.json")) for end in ("c10-t1", "base"))
    written = kept.stat().st_mtime_ns
    for name in (lost, kept):
        (name.parents[1] / "record.json").unlink()
    lost.unlink()
    run(work, RunOptions(root=tmp_path, resume=first.folder, undecided=of_batch(2, 1)))
    assert lost.exists()
    assert kept.stat().st_mtime_ns > written


def test_fewer_most_launches_than_launches_are_refused():
    with pytest.raises(ValidationError, match="must be more than launches"):
        suite(max_launches=1)


def test_the_sides_of_a_cell_alternate_sample_by_sample(tmp_path, monkeypatch):
    asked = []
    ask = WorkerClient.ask

    def spy(worker, request, **limits):
        if isinstance(request, BeginTurnsRequest | TurnRequest | EndTurnsRequest | SampleRequest):
            asked.append((type(request), request.cell))
        return ask(worker, request, **limits)

    monkeypatch.setattr(WorkerClient, "ask", spy)
    result = run(two_sided(plan(suite(controls=False))), RunOptions(root=tmp_path, undecided=of_batch(1, 1)))
    store = RunStore.open(result.folder)
    assert {kind for kind, _ in asked} == {BeginTurnsRequest, TurnRequest, EndTurnsRequest}
    turns = [cell for kind, cell in asked if kind is TurnRequest]
    for first, second in zip(turns[::2], turns[1::2], strict=True):
        assert first.removesuffix("-base") == second.removesuffix("-base")
        assert first != second
    for name, record in store.records().items():
        found = [(sample.round, sample.index) for sample in store.read_samples(name)]
        assert found == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert record.observed.threads == pytest.approx(1.0, abs=0.5)  # of its own turns, not of both sides'


def test_a_side_that_fails_in_its_turn_ends_alone(tmp_path, monkeypatch):
    ask = WorkerClient.ask

    def broken(worker, request, **limits):
        if isinstance(request, TurnRequest) and request.cell.endswith("-base"):
            raise WorkerError("it is gone")
        return ask(worker, request, **limits)

    monkeypatch.setattr(WorkerClient, "ask", broken)
    result = run(two_sided(plan(suite(controls=False))), RunOptions(root=tmp_path, undecided=of_batch(1, 1)))
    found = {(record.cell.batch, record.cell.side): record.status for record in result.records}
    assert {status for (_, side), status in found.items() if side == "head"} == {"ok"}
    assert "ok" not in {status for (_, side), status in found.items() if side == "base"}


def test_the_load_of_the_other_side_is_nobody_elses(tmp_path, monkeypatch):
    ask = WorkerClient.ask

    def reported(worker, request, **limits):
        reply = ask(worker, request, **limits)
        if isinstance(request, EndTurnsRequest):
            return EndTurnsReply(observed=replace(reply.observed, foreign_s=0.3), used_s=0.25)
        return reply

    monkeypatch.setattr(WorkerClient, "ask", reported)
    result = run(two_sided(plan(suite(controls=False))), RunOptions(root=tmp_path, undecided=of_batch(1, 1)))
    for part in result.folder.glob("cells/*/parts/launch-0.json"):
        for observed in json.loads(part.read_text())["observations"]:
            assert observed["foreign_s"] == pytest.approx(0.05)


def test_a_further_launch_that_one_side_lost_is_made_again_on_both(tmp_path):
    """As after a kill between the two sides' writes."""
    work, undecided = two_sided(plan(suite(controls=False))), of_batch(2, 3)
    first = run(work, RunOptions(root=tmp_path, undecided=undecided))
    head = next(cell.id for cell in work.cells if cell.batch == 2 and cell.side == "head")
    folders = [first.folder / "cells" / name for name in (head, f"{head}-base")]
    for folder in folders:
        (folder / "record.json").unlink()
    (folders[0] / "parts" / "launch-2.json").unlink()
    before = (folders[1] / "parts" / "launch-2.json").read_bytes()
    again = run(work, RunOptions(root=tmp_path, resume=first.folder, undecided=undecided))
    assert launches(again)[2, "head"] == launches(again)[2, "base"] == [0, 1, 2]
    assert (folders[1] / "parts" / "launch-2.json").read_bytes() != before
