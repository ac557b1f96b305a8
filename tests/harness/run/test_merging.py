"""Shards become the run that they were cut from; what does not belong together is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fake_machine import FakeMachine
from small_suite import small_suite

from cnnbench.cli.entry import execute
from cnnbench.errors import StorageError, SuiteError
from cnnbench.harness.run.files import to_json
from cnnbench.harness.run.merge import merge
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import Filters, plan
from cnnbench.measurement.environment import fingerprint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def suite(**changes):
    matrix = {"backends": [{"name": "numpy", "mode": ["fast", "reference"]}], "batch": [1, 2, 3]}
    fields = {"matrix": matrix, "latency": {"controls": False}}
    return small_suite("shards", **fields | changes)


def shard(root, number, of=2, **changes):
    asked = plan(suite(**changes), Filters(shard=(number, of)))
    return run(asked, RunOptions(root=root), [], FakeMachine().executor).folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    return [shard(root, 1), shard(root, 2)]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_shards_of_a_suite_become_one_run(shards, tmp_path):
    before = [content(folder) for folder in shards]
    store = RunStore.open(merge(shards[::-1], tmp_path))
    assert {cell.id for cell in store.read_plan().cells} == {cell.id for cell in plan(suite()).cells}
    assert [cell.group for cell in store.read_plan().cells[::2]] == list(plan(suite()).groups())
    assert store.read_plan().filters.shard is None
    summary = store.read_summary()
    assert (summary.exit_code, summary.interrupted, summary.not_run) == (0, False, ())
    assert len(store.records()) == 6
    for folder in shards:
        for name, record in RunStore.open(folder).records().items():
            assert store.records()[name] == record
            assert store.read_samples(name) == RunStore.open(folder).read_samples(name)
    assert [content(folder) for folder in shards] == before
    assert not any("not here" in note for note in summary.notes)


def test_a_missing_shard_is_told(shards, tmp_path):
    first, third = shard(tmp_path, 1, of=3), shard(tmp_path, 3, of=3)
    notes = RunStore.open(merge([first, third], tmp_path / "out")).read_summary().notes
    assert "shards that are not here: 2/3" in notes


def test_other_machines_are_told_and_gates_cannot_compare_the_whole(shards, tmp_path):
    here = RunStore.open(shards[1])
    environment = here.read_environment()
    try:
        (here.folder / "environment.json").write_text(to_json(environment | {"cpu_model": "Another 9000"}))
        store = RunStore.open(merge(shards, tmp_path))
    finally:
        (here.folder / "environment.json").write_text(to_json(environment))
    known = {fingerprint(environment), fingerprint(environment | {"cpu_model": "Another 9000"})}
    merged = store.read_environment()
    assert set(merged["merged"].values()) == known
    assert fingerprint(merged) not in known
    assert any("different machines" in note for note in store.read_summary().notes)


def test_an_interrupted_shard_leaves_the_whole_interrupted(shards, tmp_path):
    open_ended = tmp_path / "runs" / shards[1].name
    for path, data in content(shards[1]).items():
        (open_ended / path).parent.mkdir(parents=True, exist_ok=True)
        (open_ended / path).write_bytes(data)
    lost = next((open_ended / "cells").glob("*/record.json"))
    lost.unlink()
    (open_ended / "summary.json").unlink()
    summary = RunStore.open(merge([shards[0], open_ended], tmp_path / "out")).read_summary()
    assert summary.exit_code == 130
    assert summary.not_run == (lost.parent.name,)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 5}, "different suites.*another seed"),
        ({"checks": ("end_to_end",)}, "different suites.*another checks.names"),
    ],
)
def test_runs_of_different_suites_are_refused(shards, tmp_path, other, message):
    with pytest.raises(SuiteError, match="(?s)" + message):
        merge([shards[0], shard(tmp_path, 2, **other)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cell_in_two_runs_is_refused(shards, tmp_path):
    with pytest.raises(SuiteError, match="a cell is in two runs"):
        merge([shards[0], shard(tmp_path, 1)], tmp_path / "out")


def test_a_group_in_two_runs_is_refused(tmp_path):
    parts = [
        run(
            plan(suite(), Filters(backends=(f"numpy:{mode}",))), RunOptions(root=tmp_path), [], FakeMachine().executor
        ).folder
        for mode in ("fast", "reference")
    ]
    with pytest.raises(SuiteError, match="not timed together"):
        merge(parts, tmp_path / "out")


def test_other_packages_are_refused(shards, tmp_path):
    store = RunStore.open(shards[1])
    lock = store.read_lock()
    try:
        store.write_lock({"head": lock["head"] | {"numpy": "0.9"}})
        with pytest.raises(SuiteError, match=r"(?s)different packages.*another head.numpy"):
            merge(shards, tmp_path)
    finally:
        store.write_lock(lock)


def test_a_run_that_is_still_running_is_refused(shards, tmp_path):
    with RunStore.open(shards[0]).locked(), pytest.raises(SuiteError, match="another process"):
        merge(shards, tmp_path)


@pytest.mark.parametrize("count", [1, 2])
def test_one_run_is_nothing_to_merge(shards, tmp_path, count):
    with pytest.raises(SuiteError, match="nothing to merge"):
        merge([shards[0]] * count, tmp_path)


def test_nothing_is_left_of_a_merge_that_fails(shards, tmp_path, monkeypatch):
    def full(self, summary):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunStore, "write_summary", full)
    with pytest.raises(StorageError, match="No space"):
        merge(shards, tmp_path)
    assert not list(tmp_path.glob("*/*"))


def test_the_command_writes_reports_and_can_be_reported_again(shards, tmp_path, capsys):
    assert execute(["merge", *map(str, shards), "-o", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (Path(found["folder"]) / "report.html").exists()
    assert len(found["summary"]["rows"]) == 6
    assert execute(["report", found["folder"]]) == 0


def test_an_empty_shard_is_merged_like_any_other(shards, tmp_path):
    """A suite of three groups in four shards."""
    parts = [shard(tmp_path / "runs", number, of=4) for number in (1, 2, 3, 4)]
    assert not RunStore.open(parts[3]).read_plan().cells
    assert RunStore.open(parts[3]).read_summary().exit_code == 0
    store = RunStore.open(merge(parts, tmp_path / "merged"))
    assert {cell.id for cell in store.read_plan().cells} == {cell.id for cell in plan(suite()).cells}
    assert store.read_summary().exit_code == 0
    assert execute(["report", str(parts[3])]) == 0


def test_shards_may_have_run_in_different_folders(tmp_path):
    network = "inputs: [{name: image, shape: [1, 8, 8]}]\nnodes: [{name: flat, kind: flatten}]\n"
    parts = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "net.yaml").write_text(network)
        asked = suite(checks=(), matrix={"architectures": [f"file:{folder}/net.yaml"], "image": None,
                                         "num_classes": None, "backends": ["numpy"], "batch": [1, 2]})  # fmt: skip
        planned = plan(asked, Filters(shard=(number, 2)))
        parts.append(run(planned, RunOptions(root=tmp_path / "runs"), [], FakeMachine().executor).folder)
    store = RunStore.open(merge(parts, tmp_path / "merged"))
    assert {cell.architecture for cell in store.read_plan().cells} == {f"file:{tmp_path}/1/net.yaml"}
    assert len(store.records()) == 2
