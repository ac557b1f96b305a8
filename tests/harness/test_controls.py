"""Controls: a program timed against itself in a second worker, which never costs its cell anything."""

from __future__ import annotations

import sys

import pytest
from small_suite import small_suite

from cnnbench.errors import WorkerError
from cnnbench.harness.passes import group_launch, rounds
from cnnbench.harness.passes.findings import Failure
from cnnbench.harness.passes.timing import controlled
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def suite(**latency):
    matrix = {"backends": [{"name": "numpy", "mode": ["fast", "reference"]}], "batch": [1, 2]}
    return small_suite("controls", matrix=matrix, latency={"launches": 2, "rounds": 3, **latency})


def records(tmp_path, **latency):
    result = run(plan(suite(**latency)), RunOptions(root=tmp_path), [])
    return list(RunStore.open(result.folder).records().values()), result


def test_one_cell_of_each_group_has_a_control_in_every_round(tmp_path):
    found, _ = records(tmp_path)
    controls = {record.cell.group: record.control for record in found if record.control is not None}
    assert len(found) == 4
    assert len(controls) == 2
    for control in controls.values():
        assert [(item.launch, item.round) for item in control.rounds] == [
            (launch, number) for launch in range(2) for number in range(3)
        ]
        assert control.ratio.low <= control.ratio.value <= control.ratio.high


def test_a_suite_can_do_without(tmp_path):
    found, _ = records(tmp_path, controls=False)
    assert [record.control for record in found] == [None] * 4


def test_a_control_that_fails_costs_its_cell_nothing(tmp_path, monkeypatch):
    start = group_launch.start

    def fails(session, pool, cell, launch, settings, spec):
        if spec.side == "control":
            raise WorkerError("the second worker is gone")
        return start(session, pool, cell, launch, settings, spec)

    monkeypatch.setattr(group_launch, "start", fails)
    found, result = records(tmp_path)
    assert [record.status for record in found] == ["ok"] * 4
    assert [record.control for record in found] == [None] * 4
    assert sum("has no control: the second worker is gone" in note for note in result.summary.notes) == 4


def test_a_control_with_wrong_outputs_or_a_defect_costs_its_cell_nothing(tmp_path, monkeypatch):
    start = group_launch.start

    def wrong(session, pool, cell, launch, settings, spec):
        if spec.side != "control":
            return start(session, pool, cell, launch, settings, spec)
        if launch:
            raise ZeroDivisionError("a defect")
        return Failure(status="nan", reason="NaN in the output")

    monkeypatch.setattr(group_launch, "start", wrong)
    found, result = records(tmp_path)
    assert [record.status for record in found] == ["ok"] * 4
    told = [note for note in result.summary.notes if "has no control" in note]
    assert sum("NaN in the output" in note for note in told) == 2
    assert sum("a defect" in note for note in told) == 2


def test_a_control_that_is_lost_among_its_rounds_keeps_what_it_had(tmp_path, monkeypatch):
    sample = rounds._sample

    def dies(session, pool, timed, launch, number):
        if timed.is_control and number == 2:
            raise WorkerError("it is gone")
        sample(session, pool, timed, launch, number)

    monkeypatch.setattr(rounds, "_sample", dies)
    found, _ = records(tmp_path)
    assert [record.status for record in found] == ["ok"] * 4
    kept = [record.control for record in found if record.control is not None]
    assert len(kept) == 2
    assert {item.round for control in kept for item in control.rounds} == {0, 1}


def test_controls_are_of_as_few_backends_as_can_be_and_of_the_base_side():
    cells = plan(suite()).cells
    groups = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    chosen = controlled(groups, seed=0)
    assert chosen.keys() == groups.keys()
    assert len({cell.series for cell in chosen.values()}) == 1
    assert controlled(groups, seed=0) == chosen
    assert len({controlled(groups, seed)[next(iter(groups))].series for seed in range(20)}) == 2
    sided = {
        name: [
            cell.model_copy(update={"side": side, "id": f"{cell.id}-{side}"})
            for cell in group
            for side in ("head", "base")
        ]
        for name, group in groups.items()
    }
    assert {cell.side for cell in controlled(sided, seed=0).values()} == {"base"}
