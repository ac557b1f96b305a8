"""A run from plan to summary, on a machine without processes: what was measured is kept, and told after it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_machine import FakeMachine
from small_suite import LATENCY, TRAIN, TWO, small_suite

from cnnbench import registry
from cnnbench.errors import DataError, SuiteError
from cnnbench.harness.passes.events import NoteAdded, PartFound, RoundFinished, UnitsDone
from cnnbench.harness.run.bundle import bundle
from cnnbench.harness.run.events import CellRecorded, RunFinished, RunStarted
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.file import load_suite
from cnnbench.harness.suite.plan import Filters, plan
from cnnbench.harness.worker.errors import WorkerCrashError
from cnnbench.harness.worker.protocol.timing import PrepareRequest, SampleRequest, YardsticksReply, YardsticksRequest
from cnnbench.hookspecs import hookimpl
from cnnbench.numerics import checks
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.training.dataset import DatasetPlugin


def of_mode(mode):
    return lambda worker, request: worker.prepared[request.cell].options.mode == mode


def statuses(result):
    return {record.cell.mode: record.status for record in result.records}


def test_what_fails_is_run_again_on_resume_and_what_is_done_is_not(go, machine):
    machine.fail(SampleRequest, of_mode("reference"))
    result, _ = go()
    assert statuses(result) == {"fast": "ok", "reference": "error"}
    assert result.exit_code == 3
    failed = next(record for record in result.records if record.status == "error")
    assert failed.reason == "it is gone"
    assert (result.folder / "cells" / failed.cell.id / "stderr.log").read_text() == "what the worker printed"
    kept = {path: path.read_bytes() for path in result.folder.glob("cells/*-fast-*/record.json")}
    assert len(kept) == 1
    machine.answers.clear()
    machine.asked.clear()
    again, events = go(resume=result.folder)
    assert again.folder == result.folder
    assert statuses(again) == {"fast": "ok", "reference": "ok"}
    assert again.exit_code == 0
    assert "apart from its group" in again.records[1].latency.note
    assert {request.options.mode for request in machine.requests(PrepareRequest)} == {"reference"}
    assert {path: path.read_bytes() for path in kept} == kept
    assert [event.resumed for event in events if isinstance(event, CellRecorded)] == [True, False]


def test_an_interruption_keeps_what_was_measured_and_resume_goes_on_from_there(go):
    def interrupt(event):
        if isinstance(event, RoundFinished) and (event.launch, event.round) == (1, 1):
            raise KeyboardInterrupt

    latency = {"launches": 2, "rounds": 3}
    result, _ = go(latency=latency, listeners=[interrupt])
    assert result.exit_code == 130
    assert statuses(result) == {"fast": "interrupted", "reference": "interrupted"}
    assert result.summary.interrupted
    parts = {path: path.read_bytes() for path in result.folder.glob("cells/*/parts/*.json")}
    assert [path.name for path in parts] == ["launch-0.json"] * 2
    again, _ = go(latency=latency, resume=result.folder)
    assert again.exit_code == 0
    assert again.summary.started_utc == result.summary.started_utc
    assert again.summary.seconds["import"] == pytest.approx(result.summary.seconds["import"] + 3.0)
    store = RunStore.open(result.folder)
    for record in again.records:
        assert [sample.launch for sample in store.read_samples(record.cell.id)] == [0] * 6 + [1] * 6
        assert "apart" not in (record.latency.note or "")
    assert {path: path.read_bytes() for path in parts} == parts


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"matrix": {}}, "suite.matrix"),
        ({"seed": 1}, "suite.seed"),
        ({"latency": {"rounds": 9}}, "suite.measure.latency.rounds"),
    ],
)
def test_a_run_cannot_be_resumed_with_another_plan(go, changes, what):
    result, _ = go()
    with pytest.raises(SuiteError, match="another plan") as caught:
        go(**({"matrix": TWO} | changes), resume=result.folder)
    assert caught.value.received == f"another {what}"


def test_a_whole_run_that_is_continued_does_not_become_a_part(tmp_path, machine):
    """Its gate would pass with cells of the baseline absent."""
    asked = small_suite("lives", matrix=TWO)
    first = run(plan(asked), RunOptions(root=tmp_path), [], machine.executor)
    run(plan(asked, Filters(shard=(1, 2))), RunOptions(resume=first.folder), [], machine.executor)
    assert RunStore.open(first.folder).read_plan().filters == Filters()


NETWORK = """\
name: net
inputs: [{{name: image, shape: [1, 8, 8]}}]
nodes:
  - {{name: flat, kind: flatten}}
  - {{name: fc, kind: linear, out_features: {classes}}}
"""


def test_a_network_that_changed_meanwhile_is_measured_again_and_said_so(go, machine, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(NETWORK.format(classes=3))
    matrix = {"architectures": [f"file:{path}"], "num_classes": None, "backends": ["numpy"]}

    def interrupt(event):
        if isinstance(event, PartFound) and event.name == "launch-0":
            raise KeyboardInterrupt

    latency = {"launches": 2}
    first, _ = go(matrix, listeners=[interrupt], latency=latency)
    assert list(first.folder.glob("cells/*/parts/launch-0.json"))
    path.write_text(NETWORK.format(classes=4))
    machine.asked.clear()
    again, _ = go(matrix, resume=first.folder, latency=latency)
    (record,) = again.records
    assert record.status == "ok"
    assert {request.graph.digest for request in machine.requests(PrepareRequest)} == {record.digests.graph}
    assert len(machine.requests(PrepareRequest)) == 2 * 2, "both launches, each with its control"
    notes = [note for note in again.summary.notes if "measured again" in note]
    assert notes == [f"{record.cell.id}: launch-0 is measured again: it was made from another network"]
    path.write_text(NETWORK.format(classes=5))
    third, _ = go(matrix, resume=first.folder, latency=latency)
    assert third.records[0].digests.graph != record.digests.graph
    assert any("its record was made from another network" in note for note in third.summary.notes)


def test_a_run_goes_on_in_another_working_folder(go, tmp_path, monkeypatch):
    """Its network lies beside the suite, not beside whoever continues the run."""
    for folder in ("project", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "project" / "net.yaml").write_text(NETWORK.format(classes=3))
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "project" / "suite.yaml").write_text(
        "schema_version: 1\nname: moved\nmatrix: {architectures: 'file:net.yaml', backends: numpy}\n"
        "checks: []\nmeasure: {latency: {launches: 2, rounds: 1, samples: 2}, memory: false, yardsticks: false}\n"
    )

    def interrupt(event):
        if isinstance(event, PartFound):
            raise KeyboardInterrupt

    def start(suite, *listeners, resume=None):
        options = RunOptions(root=tmp_path / "runs", resume=resume)
        return run(plan(load_suite(Path(suite))), options, listeners, FakeMachine().executor)

    first = start("suite.yaml", interrupt)
    assert first.summary.interrupted
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = start("../project/suite.yaml", resume=first.folder)
    assert again.exit_code == 0
    assert not [note for note in again.summary.notes if "measured again" in note]
    packed = bundle(first.folder, tmp_path / "packed.zip")
    assert list(packed.manifest.attachments) == ["file:attachments/0/net.yaml"]
    assert not packed.manifest.left_out
    assert str(tmp_path) not in packed.members["plan.json"].decode()


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["suite"].update(seed=7),
        lambda plan: [cell.update(seed=7) for cell in plan["cells"]],
        lambda plan: plan["cells"].pop(),
        lambda plan: plan["suite"]["gates"]["latency"].update(threshold=9.0),
        lambda plan: plan.pop("digest"),
    ],
    ids=["seed", "seed of cells", "a cell", "threshold", "digest"],
)
def test_a_plan_that_was_changed_by_hand_is_neither_measured_nor_judged(go, change):
    result, _ = go()
    path = result.folder / "plan.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    for use in (lambda: go(resume=result.folder), RunStore.open(result.folder).read_plan):
        with pytest.raises(DataError, match="changed after it was written"):
            use()


def test_a_shard_without_cells_is_well_and_says_so(tmp_path, machine):
    empty = plan(small_suite("lives", matrix=TWO), Filters(shard=(9, 9)))
    result = run(empty, RunOptions(root=tmp_path), [], machine.executor)
    assert (result.exit_code, result.records) == (0, ())
    assert [note for note in result.summary.notes if "this shard has no cell" in note]


def test_records_are_on_disk_before_anyone_hears_of_them(go):
    seen = []

    class Recorder:
        def started(self, run):
            seen.append(("started", (run.folder / "plan.json").exists(), run.environment["python"]))

        def recorded(self, record, folder):
            seen.append(("recorded", json.loads((folder / "record.json").read_text())["status"]))

        def finished(self, run):
            seen.append(("finished", (run.folder / "summary.json").exists(), len(run.records)))
            return {"somewhere": "http://127.0.0.1/x"}

    class Broken(Recorder):
        def recorded(self, record, folder):
            raise ConnectionError("server is down")

    class Refusing(Broken):
        def started(self, run):
            raise ConnectionError("no server")

    folder = []

    def parts_are_kept(event):
        if isinstance(event, RunStarted):
            folder.append(event.folder)
        if isinstance(event, PartFound):
            assert (folder[0] / "cells" / event.cell / "parts" / f"{event.name}.json").exists()

    recorders = {"good": Recorder(), "broken": Broken(), "refusing": Refusing()}
    result, events = go({}, recorders=recorders, listeners=[parts_are_kept])
    assert result.exit_code == 0
    assert [item[0] for item in seen] == ["started", "started", "recorded", "finished"]
    assert ("recorded", "ok") in seen
    assert result.summary.links == {"somewhere": "http://127.0.0.1/x"}
    assert RunStore.open(result.folder).read_summary() == result.summary
    notes = [event.text for event in events if isinstance(event, NoteAdded)]
    assert "recorder 'broken' failed and is left out: ConnectionError: server is down" in notes
    assert sum("refusing" in note for note in notes) == 1


def test_events_are_of_the_start_of_work_and_of_the_end(go):
    measure = {"latency": {**LATENCY, "launches": 2}, "memory": True, "yardsticks": False}
    result, events = go(measure=measure, train=TRAIN)
    started = next(event for event in events if isinstance(event, RunStarted))
    assert sum(event.units for event in events if isinstance(event, UnitsDone)) == started.work == 2 * (2 + 1 + 2)
    assert events[-1] == RunFinished(result.folder, 0)


def test_skipped_cells_are_recorded_with_their_reason(go):
    result, _ = go({"device": ["cpu", "cuda"]})
    assert [record.status for record in result.records] == ["ok", "skipped"]
    assert "cuda" in result.records[1].reason
    assert result.exit_code == 0


def test_of_two_moments_of_a_launch_the_better_counts_and_of_launches_the_median(go, machine):
    speeds = iter([60.0, 198.0, 50.0, 40.0, 190.0, 180.0])

    def moment(worker, request):
        speed = next(speeds)
        return YardsticksReply(matrix_product_gflop_per_s=speed, copy_gb_per_s=speed / 10)

    machine.answers[YardsticksRequest] = moment
    measure = {"latency": {**LATENCY, "launches": 3}, "memory": False, "yardsticks": True}
    result, _ = go(measure=measure)
    assert result.summary.yardsticks == {"matrix_product_gflop_per_s": 190.0, "copy_gb_per_s": 19.0}
    assert next(speeds, None) is None


def test_cells_are_measured_where_yardsticks_cannot_be(go, machine):
    machine.fail(YardsticksRequest, lambda worker, request: True)
    measure = {"latency": LATENCY, "memory": False, "yardsticks": True}
    result, _ = go(measure=measure)
    assert set(statuses(result).values()) == {"ok"}
    assert result.summary.yardsticks == {}
    assert any("the yardsticks could not be measured: it is gone" in note for note in result.summary.notes)


class RaisingData:
    """A plugin whose dataset cannot be loaded, for a reason of its own."""

    @hookimpl
    def cnnbench_datasets(self):
        def load(request):
            raise KeyError("pixels")

        return [DatasetPlugin("raising", "a dataset", ("test",), load)]


def test_a_plugin_that_raises_while_a_cell_is_prepared_is_named_and_no_defect_of_ours(go):
    registry.plugin_manager().register(RaisingData(), "my_data")
    try:
        result, _ = go({"backends": ["numpy"], "data": "raising"})
    finally:
        registry.forget_plugins()
    assert result.records[0].status == "error"
    assert "KeyError: 'pixels', from the plugin 'my_data'" in result.records[0].reason
    assert (result.exit_code, result.summary.defects) == (3, ())


def test_seconds_are_told_by_category(go, machine):
    machine.latencies_s["numpy"] = 1.0
    result, _ = go(latency={"launches": 1, "rounds": 2, "samples": 2, "controls": False})
    seconds = result.summary.seconds
    assert seconds["import"] == 1.5  # one worker for both modes, started and loaded
    assert (seconds["build"], seconds["compile"]) == (0.4, 2.0)
    assert seconds["warm_up"] == 2 * (6.0 + 3.0)  # with the check of synchronisation
    assert seconds["samples"] == 2 * 2 * 2.0


def test_the_folder_is_laid_out_as_published(go):
    result, _ = go({})
    names = {path.relative_to(result.folder).as_posix() for path in result.folder.rglob("*") if path.is_file()}
    cell = f"cells/{result.records[0].cell.id}"
    wanted = {"suite.resolved.yaml", "plan.json", "environment.json", "lock.json", "summary.json"}
    assert wanted | {f"{cell}/record.json", f"{cell}/samples.jsonl"} <= names
    assert result.folder.parent == Path(result.folder.parent.parent, "lives")


def test_a_listener_that_can_no_longer_write_costs_nothing(go):
    heard = []

    def closed(event):
        heard.append(event)
        raise OSError(5, "Input/output error")

    result, _ = go(listeners=[closed])

    assert len(heard) == 1
    assert statuses(result) == {"fast": "ok", "reference": "ok"}
    assert [note for note in result.summary.notes if "progress was no longer shown" in note]


def test_a_program_whose_checks_did_not_end_is_timed_at_no_batch(go, monkeypatch):
    """It was not proven: the checks of all its batches ran in the cell that crashed."""

    def checked(names, subject, case, begin):
        if case.options.mode == "fast":
            raise WorkerCrashError("it died")
        return [CheckOutcome(name=name, status="passed") for name in names]

    monkeypatch.setattr(checks, "run_checks", checked)
    result, _ = go({**TWO, "batch": [1, 2, 3]}, checks=("determinism",))

    ends = {(record.cell.mode, record.cell.batch): record for record in result.records}
    assert {place for place, record in ends.items() if record.latency is not None} == {
        ("reference", batch) for batch in (1, 2, 3)
    }
    assert ends["fast", 1].status == "crashed"
    for batch in (2, 3):
        assert ends["fast", batch].status == "crashed"
        assert ends["fast", batch].reason.startswith(f"as {ends['fast', 1].cell.id}: ")
    assert result.exit_code == 3
