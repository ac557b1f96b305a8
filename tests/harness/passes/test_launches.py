"""Sequential sampling in a run: more launches of the cells that are named, and of no others."""

from __future__ import annotations

import pytest
from fake_machine import FakeMachine
from pydantic import ValidationError
from small_suite import small_suite

from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import plan, two_sided
from cnnbench.harness.worker.protocol.timing import SampleRequest, TurnRequest


def suite(controls=False, **sequential):
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


@pytest.fixture
def machine():
    return FakeMachine()


@pytest.fixture
def go(tmp_path, machine):
    """Runs both sides of two cells on a machine without processes."""

    def start(undecided=None, resume=None, **sequential):
        options = RunOptions(root=tmp_path, undecided=undecided, resume=resume)
        return run(two_sided(plan(suite(**sequential))), options, executor=machine.executor)

    return start


def launches(result):
    """By batch and side: the launches of the samples on disk."""
    store = RunStore.open(result.folder)
    return {
        (record.cell.batch, record.cell.side): sorted({sample.launch for sample in store.read_samples(name)})
        for name, record in store.records().items()
        if record.status == "ok"
    }


def parts(folder, pattern):
    """The kept parts with their content."""
    return {path: path.read_bytes() for path in folder.glob(f"cells/{pattern}.json")}


def test_only_what_is_undecided_goes_on(go):
    result = go(of_batch(2, 3))
    assert launches(result) == {
        (1, "base"): [0], (1, "head"): [0], (2, "base"): [0, 1, 2], (2, "head"): [0, 1, 2]
    }  # fmt: skip
    assert not any("undecided" in note for note in result.summary.notes)


def test_what_comes_open_again_makes_up_for_its_launches(go):
    """One image decides at once; two make three launches, and then one image is open until it has three, too."""

    def undecided(timed):
        made = {cell.batch: {sample.launch for sample in samples} for cell, samples in timed}
        wanted = {1: 3 if len(made[2]) == 3 else 0, 2: 3}
        return frozenset(cell.key for cell, _ in timed if len(made[cell.batch]) < wanted[cell.batch])

    assert set(map(tuple, launches(go(undecided)).values())) == {(0, 1, 2)}


def test_it_ends_with_the_most_launches_and_says_so(go):
    result = go(of_batch(1, 99))
    assert launches(result)[1, "head"] == launches(result)[1, "base"] == [0, 1, 2, 3]
    assert "sampling ended with 1 cells undecided: each has its most launches" in result.summary.notes


def test_it_ends_when_the_time_is_spent(go, machine):
    machine.latencies_s["numpy fast"] = 1.0
    result = go(of_batch(1, 99), budget_s=60.0)  # a launch of a group takes 16 calls and two imports
    assert launches(result) == {(1, "base"): [0, 1], (1, "head"): [0, 1], (2, "base"): [0], (2, "head"): [0]}
    assert "sampling ended with 1 cells undecided: the time is spent" in result.summary.notes


def test_a_run_that_compares_nothing_makes_the_suites_launches(tmp_path, machine):
    result = run(plan(suite()), RunOptions(root=tmp_path), executor=machine.executor)
    assert launches(result) == {(1, "head"): [0], (2, "head"): [0]}


def test_an_interruption_in_a_further_launch_loses_and_repeats_nothing(go, machine):
    seen = []

    def interrupted(worker, request):
        seen.append(request)
        if len(seen) == 2 * 2 * 2 * 3 + 1:  # two rounds of two turns of two sides, in the launches 0 (twice) and 1
            raise KeyboardInterrupt

    machine.answers[TurnRequest] = interrupted
    first = go(of_batch(2, 4))
    assert first.summary.interrupted
    kept = parts(first.folder, "*/parts/launch-[01]")
    assert len(kept) == 6
    again = go(of_batch(2, 4), resume=first.folder)
    assert launches(again) == {
        (1, "base"): [0], (1, "head"): [0], (2, "base"): [0, 1, 2, 3], (2, "head"): [0, 1, 2, 3]
    }  # fmt: skip
    assert parts(first.folder, "*/parts/launch-[01]") == kept


def test_a_side_that_is_missing_is_measured_with_the_other(go, machine):
    """Rounds pair because they were run at one time: a side that was killed costs the other's launch too."""
    first = go(of_batch(2, 1))
    lost, kept = (next(first.folder.glob(f"cells/*-b1-*{end}/parts/launch-0.json")) for end in ("c10-t1", "base"))
    before = kept.read_bytes()
    for name in (lost, kept):
        (name.parents[1] / "record.json").unlink()
    lost.unlink()
    machine.latencies_s["numpy fast"] = 2.0
    go(of_batch(2, 1), resume=first.folder)
    assert lost.exists()
    assert kept.read_bytes() != before


def test_a_further_launch_that_one_side_lost_is_made_again_on_both(go, machine):
    """As after a kill between the two sides' writes."""
    first = go(of_batch(2, 3))
    head = next(record.cell.id for record in first.records if record.cell.batch == 2 and record.cell.side == "head")
    folders = [first.folder / "cells" / name for name in (head, f"{head}-base")]
    for folder in folders:
        (folder / "record.json").unlink()
    (folders[0] / "parts" / "launch-2.json").unlink()
    before = (folders[1] / "parts" / "launch-2.json").read_bytes()
    machine.latencies_s["numpy fast"] = 2.0
    again = go(of_batch(2, 3), resume=first.folder)
    assert launches(again)[2, "head"] == launches(again)[2, "base"] == [0, 1, 2]
    assert (folders[1] / "parts" / "launch-2.json").read_bytes() != before


def test_fewer_most_launches_than_launches_are_refused():
    with pytest.raises(ValidationError, match="must be more than launches"):
        suite(max_launches=1)


def test_a_run_without_sides_has_no_turns(tmp_path, machine):
    run(plan(suite()), RunOptions(root=tmp_path), executor=machine.executor)
    assert machine.requests(SampleRequest)
    assert not machine.requests(TurnRequest)
