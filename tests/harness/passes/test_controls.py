"""Controls: a program timed against itself in a second worker, which never costs its cell anything."""

from __future__ import annotations

import math

import pytest
from fake_machine import FakeMachine
from fake_worker import zeros
from small_suite import small_suite

from cnnbench.harness.passes.timing import comparison_groups, controlled
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.protocol.timing import PrepareRequest, SampleRequest


def suite(**latency):
    matrix = {"backends": [{"name": "numpy", "mode": ["fast", "reference"]}], "batch": [1, 2]}
    return small_suite("controls", matrix=matrix, latency={"launches": 2, "rounds": 3, **latency})


@pytest.fixture
def machine():
    return FakeMachine()


@pytest.fixture
def go(tmp_path, machine):
    def start(**latency):
        result = run(plan(suite(**latency)), RunOptions(root=tmp_path), executor=machine.executor)
        assert [record.status for record in result.records] == ["ok"] * 4
        return result

    return start


def controls(result):
    return [record.control for record in result.records if record.control is not None]


def is_control(worker, request):
    return worker.spec.side == "control"


def test_one_cell_of_each_group_has_a_control_in_every_round(go):
    result = go()
    assert {record.cell.batch for record in result.records if record.control} == {1, 2}
    assert len(controls(result)) == 2
    for control in controls(result):
        assert [(item.launch, item.round) for item in control.rounds] == [
            (launch, number) for launch in range(2) for number in range(3)
        ]
        assert control.ratio.value == pytest.approx(1.0)


def test_a_suite_can_do_without(go, machine):
    assert controls(go(controls=False)) == []
    assert {worker.spec.side for worker, _ in machine.asked} == {"head"}


def test_a_control_that_fails_costs_its_cell_nothing(go, machine):
    machine.fail(PrepareRequest, is_control)
    result = go()
    assert controls(result) == []
    assert sum("has no control: it is gone" in note for note in result.summary.notes) == 4
    assert result.exit_code == 0


def test_a_control_with_a_defect_costs_its_cell_nothing(go, machine):
    machine.fail(PrepareRequest, is_control, ZeroDivisionError("a defect"))
    result = go()
    assert controls(result) == []
    assert sum("a defect" in note for note in result.summary.notes) == 4


def test_a_control_with_wrong_outputs_costs_its_cell_nothing(go, machine):
    def outputs(worker, request):
        right = zeros(request)
        return {name: array + math.nan for name, array in right.items()} if is_control(worker, request) else right

    machine.outputs = outputs
    result = go()
    assert controls(result) == []
    assert sum("has no control: output" in note for note in result.summary.notes) == 4


def test_a_control_that_is_lost_among_its_rounds_keeps_what_it_had(go, machine):
    """In the third round of each launch, of which each group has two."""
    asked = []

    def dies(worker, request):
        if worker.spec.side == "control":
            asked.append(request.cell)
            if asked.count(request.cell) % 3 == 0:
                raise RuntimeError("it is gone")

    machine.answers[SampleRequest] = dies
    kept = controls(go())
    assert len(kept) == 2
    assert {(item.launch, item.round) for control in kept for item in control.rounds} == {
        (0, 0), (0, 1), (1, 0), (1, 1)
    }  # fmt: skip


def test_controls_are_of_as_few_backends_as_can_be_and_of_the_base_side():
    groups = comparison_groups(plan(suite()).cells)
    chosen = controlled(groups, seed=0)
    assert chosen.keys() == groups.keys()
    assert len({cell.series for cell in chosen.values()}) == 1
    assert controlled(groups, seed=0) == chosen
    assert len({controlled(groups, seed)[next(iter(groups))].series for seed in range(20)}) == 2
    sided = {
        key: [cell.model_copy(update={"side": side}) for cell in group for side in ("head", "base")]
        for key, group in groups.items()
    }
    assert {cell.side for cell in controlled(sided, seed=0).values()} == {"base"}
