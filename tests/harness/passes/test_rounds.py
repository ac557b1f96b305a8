"""Rounds: random order, turns of two sides, time limits, and what one member's failure costs the others."""

from __future__ import annotations

import json

import pytest
from fake_machine import FakeMachine
from fake_worker import observed
from small_suite import small_suite

from cnnbench.harness.passes.events import RoundFinished
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import plan, two_sided
from cnnbench.harness.worker.errors import WorkerCrashError
from cnnbench.harness.worker.protocol.timing import (
    BeginTurnsRequest,
    EndTurnsReply,
    EndTurnsRequest,
    PrepareRequest,
    SampleRequest,
    TurnReply,
    TurnRequest,
)
from cnnbench.measurement.turns import Turn

THREE = [{"name": "numpy", "mode": ["fast", "reference"]}, {"name": "numpy", "layout": "channels_last"}]


@pytest.fixture
def machine():
    return FakeMachine()


@pytest.fixture
def go(tmp_path, machine):
    """Runs the suite on a machine without processes; gives the result and the events."""

    def start(*, sides=False, backends=("numpy",), measure=None, seed=0, **latency):
        changes = {} if measure is None else {"measure": measure}
        asked = small_suite(
            "rounds", matrix={"backends": list(backends)}, latency={"controls": False, **latency}, seed=seed, **changes
        )
        planned = two_sided(plan(asked)) if sides else plan(asked)
        events = []
        return run(planned, RunOptions(root=tmp_path), [events.append], machine.executor), events

    return start


def layouts(machine):
    """The (mode, layout) of each sample request, in order."""
    known = {
        request.cell: (request.options.mode, request.options.layout) for request in machine.requests(PrepareRequest)
    }
    return [known[request.cell] for request in machine.requests(SampleRequest)]


def test_rounds_are_in_random_order_and_the_same_for_the_same_seed(tmp_path):
    def orders(seed):
        machine = FakeMachine()
        asked = small_suite("r", matrix={"backends": THREE}, latency={"controls": False, "rounds": 8}, seed=seed)
        run(plan(asked), RunOptions(root=tmp_path), executor=machine.executor)
        found = layouts(machine)
        return [tuple(found[i : i + 3]) for i in range(0, len(found), 3)]

    first = orders(0)
    assert first == orders(0) != orders(1)
    assert all(len(set(order)) == 3 for order in first)
    assert len(set(first)) > 2


def test_programs_are_started_in_another_order_in_each_launch(go, machine):
    go(backends=THREE, launches=6, rounds=1, samples=1)
    started = [(request.options.mode, request.options.layout) for request in machine.requests(PrepareRequest)]
    orders = [tuple(started[i : i + 3]) for i in range(0, len(started), 3)]
    assert all(len(set(order)) == 3 for order in orders)
    assert len(set(orders)) > 2


def test_each_round_is_reported_with_the_medians_of_its_cells(go, machine):
    machine.latencies_s = {"numpy fast": 0.5, "numpy reference": 2.0}
    result, events = go(backends=THREE[:1], launches=2, rounds=3)
    rounds = [event for event in events if isinstance(event, RoundFinished)]
    assert [(event.launch, event.round) for event in rounds] == [(i, j) for i in (0, 1) for j in (0, 1, 2)]
    for event in rounds:
        medians = dict(event.medians_s)
        for record in result.records:
            assert medians[record.cell.id] == pytest.approx(machine.latencies_s[record.cell.series])
    for record in result.records:
        assert record.latency.median_s.value == pytest.approx(machine.latencies_s[record.cell.series])
        assert record.latency.samples == 2 * 3 * 2


def test_a_groups_time_ends_its_rounds_after_the_third(go, machine):
    machine.latencies_s["numpy fast"] = 1.0
    measure = {
        "latency": {"launches": 1, "rounds": 9, "samples": 2, "controls": False},
        "budget_s": 9.5, "memory": False, "yardsticks": False,
    }  # fmt: skip
    result, _ = go(measure=measure)
    assert result.records[0].latency.rounds == 5  # four rounds of 2 s leave 1.5 s, in which another may begin
    measure["budget_s"] = 0.1
    result, _ = go(measure=measure)
    assert result.records[0].latency.rounds == 3


def test_the_sides_of_a_cell_alternate_sample_by_sample(go, machine):
    result, _ = go(sides=True, rounds=2, samples=4, max_round_s=100)
    store = RunStore.open(result.folder)
    assert not machine.requests(SampleRequest)
    assert len(machine.requests(BeginTurnsRequest)) == len(machine.requests(EndTurnsRequest)) == 2 * 2
    turns = [worker.spec.side for worker, request in machine.asked if isinstance(request, TurnRequest)]
    pairs = [set(turns[i : i + 2]) for i in range(0, len(turns), 2)]
    assert pairs == [{"base", "head"}] * (2 * 4)
    for name in store.records():
        found = [(sample.round, sample.index) for sample in store.read_samples(name)]
        assert found == [(number, index) for number in (0, 1) for index in range(4)]


def test_turns_end_with_the_time_of_a_round_but_not_before_the_least_samples(go, machine):
    machine.latencies_s["numpy fast"] = 1.0
    result, _ = go(sides=True, rounds=1, samples=50, min_samples=2, max_round_s=3.0)  # for each of the two sides
    assert {record.latency.samples for record in result.records} == {3}
    result, _ = go(sides=True, rounds=1, samples=50, min_samples=2, max_round_s=0.1)
    assert {record.latency.samples for record in result.records} == {2}


def test_a_process_that_spins_after_its_work_gets_more_samples_at_a_turn(go, machine):
    def spinning(worker, request):
        samples = (1.0,) * request.samples
        return TurnReply(turn=Turn(samples_s=samples, wall_s=float(request.samples), idle_after_s=3.0))

    machine.answers[TurnRequest] = spinning
    go(sides=True, rounds=1, samples=8, max_round_s=1e6)
    assert [request.samples for request in machine.requests(TurnRequest)] == [1, 1, 3, 3, 3, 3, 1, 1]


def test_a_side_that_fails_in_its_turn_ends_alone(go, machine):
    machine.fail(TurnRequest, lambda worker, request: worker.spec.side == "base")
    result, _ = go(sides=True)
    assert {record.cell.side: record.status for record in result.records} == {"head": "ok", "base": "error"}


def test_the_load_of_the_other_side_is_nobody_elses(go, machine):
    def loaded(worker, request):
        seen = observed(1.0).__class__(**{**observed(1.0).__dict__, "foreign_s": 0.3})
        return EndTurnsReply(observed=seen, used_s=0.25)

    machine.answers[EndTurnsRequest] = loaded
    result, _ = go(sides=True)
    parts = [json.loads(path.read_text())["part"] for path in result.folder.glob("cells/*/parts/launch-0.json")]
    assert len(parts) == 2
    for part in parts:
        assert [item["foreign_s"] for item in part["observations"]] == pytest.approx([0.05, 0.05])


def test_a_worker_that_dies_takes_its_own_cell_and_is_started_again_for_the_others(go, machine):
    """Both layouts are served by one worker, which the first of them kills in its first round."""

    def deadly(worker, request):
        if worker.prepared[request.cell].options.layout == "channels_last":
            raise WorkerCrashError("the worker died: SIGKILL")

    machine.answers[SampleRequest] = deadly
    result, _ = go(backends=["numpy", THREE[1]], rounds=3)
    found = {record.cell.layout: record for record in result.records}
    assert found["channels_last"].status == "crashed"
    assert found["auto"].status == "ok"
    assert len({sample.round for sample in RunStore.open(result.folder).read_samples(found["auto"].cell.id)}) == 3
    assert any("was started again in round" in note for note in found["auto"].observed.notes)


def test_a_defect_of_our_own_ends_one_cell_and_exits_with_70(go, machine):
    machine.fail(
        SampleRequest, lambda worker, request: worker.prepared[request.cell].options.mode == "reference",
        ZeroDivisionError("oops"),
    )  # fmt: skip
    result, _ = go(backends=THREE[:1])
    assert {record.cell.mode: record.status for record in result.records} == {"fast": "ok", "reference": "error"}
    assert result.exit_code == 70
    assert "oops" in result.summary.defects[0]
    failed = next(record for record in result.records if record.status == "error")
    assert "ZeroDivisionError" in (result.folder / "cells" / failed.cell.id / "stderr.log").read_text()
