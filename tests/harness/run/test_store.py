"""A run's folder: whole files or none, damaged records count as not run, two processes never mix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from cnnbench.errors import DataError, StorageError, SuiteError
from cnnbench.harness.passes.findings import LaunchPart, Parts, Phases, Sample, Training
from cnnbench.harness.run.beside_records import write_files, write_numerics, write_samples
from cnnbench.harness.run.exit_codes import worst
from cnnbench.harness.run.files import write_atomically
from cnnbench.harness.run.record import Interval, Latency, Record
from cnnbench.harness.run.store import RunStore, latest, runs
from cnnbench.harness.run.summary import RunFacts, Summary, summarize_run
from cnnbench.harness.suite.cell import Cell
from cnnbench.numerics.outcome import NodeUse
from cnnbench.numerics.quantity import Quantity


def cell(name: str = "lenet5-numpy-fast-b1") -> Cell:
    return Cell(
        id=name, key="k", group="g", architecture="lenet5", backend="numpy", mode="fast", batch=1, image=(1, 32, 32)
    )


def record(name: str = "lenet5-numpy-fast-b1", status="ok", **fields) -> Record:
    now = datetime.now(UTC).isoformat()
    return Record(cell=cell(name), status=status, started_utc=now, finished_utc=now, **fields)


def interval(value: float) -> Interval:
    return Interval(value=value, low=value * 0.9, high=value * 1.1)


def test_what_is_written_is_read_back(tmp_path):
    run = RunStore.create("smoke", tmp_path)
    written = record(phases=Phases(import_s=0.5, compile_s=float("nan")))
    run.write_record(written)
    samples = [Sample(launch=0, round=1, index=2, latency_s=0.125)]
    write_samples(run.cell_folder(written.cell.id), samples)
    budgets = [
        NodeUse(
            node="conv1",
            kind="conv",
            quantity=Quantity.output(),
            sharp_used=0.1,
            worst_case_used=0.01,
            budget="derived",
        )
    ]
    write_numerics(run.cell_folder(written.cell.id), budgets)
    run.write_environment({"cpu": "x"})
    again = RunStore.open(run.folder)
    assert again.read_record(written.cell.id).model_dump_json() == written.model_dump_json()
    assert again.read_samples(written.cell.id) == samples
    assert again.read_numerics(written.cell.id) == budgets
    assert again.read_environment() == {"cpu": "x"}
    assert again.id == run.folder.name


def test_files_beside_a_record_are_read_only_as_it_knows_them(tmp_path):
    """Left over from earlier work on the cell, or changed since: neither is what the record was made with."""
    run = RunStore.create("smoke", tmp_path)
    written = record()
    folder = run.cell_folder(written.cell.id)
    samples = (Sample(launch=0, round=1, index=2, latency_s=0.125),)
    part = LaunchPart(launch=0, phases=Phases(), steady=True, calls_per_sample=1, samples=samples)
    files = write_files(folder, Parts(launches=(part,)))
    run.write_record(written.model_copy(update={"files": files}))
    assert run.read_samples(written.cell.id) == list(samples)
    run.write_record(written.model_copy(update={"files": write_files(folder, Parts())}))
    assert run.read_samples(written.cell.id) == []
    run.write_record(written.model_copy(update={"files": files}))
    write_samples(folder, [samples[0].model_copy(update={"latency_s": 0.1})])
    with pytest.raises(DataError, match="changed after its record was written"):
        run.read_samples(written.cell.id)


def test_a_verdict_counts_for_the_records_that_were_judged(tmp_path):
    run = RunStore.create("smoke", tmp_path)
    run.write_record(record())
    (run.folder / "gate.json").write_text(json.dumps({"records": run.digest, "verdicts": []}))
    assert run.read_verdicts() == {"records": run.digest, "verdicts": []}
    run.write_record(record(status="error", reason="measured again"))
    assert run.read_verdicts() is None


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 1}', "\0\0\0", '{"cell": 3}'])
def test_a_damaged_record_counts_as_not_run_and_says_so(tmp_path, content):
    run = RunStore.create("smoke", tmp_path)
    folder = run.cell_folder("a")
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(content)
    assert run.read_record("a") is None
    assert run.records() == {}
    assert "a counts as not run" in run.problems[0]


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def broken(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match="No space"):
        write_atomically(path, "new, and longer")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_killed_while_it_writes_leaves_a_whole_record(tmp_path):
    code = (
        "import sys, pathlib; from cnnbench.harness.run.files import write_atomically\n"
        "path = pathlib.Path(sys.argv[1]); i = 0\n"
        "while True:\n"
        "    i += 1; write_atomically(path, str(i % 10) * 200_000); print(i, flush=True)\n"
    )
    path = tmp_path / "record.json"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    text = path.read_text()
    assert len(text) == 200_000
    assert set(text) == {text[0]}


def test_two_processes_cannot_run_in_one_folder_and_a_dead_one_frees_it(tmp_path):
    run = RunStore.create("smoke", tmp_path)
    code = (
        "import sys, pathlib; from cnnbench.harness.run.store import RunStore\n"
        "with RunStore.open(pathlib.Path(sys.argv[1])).locked():\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(SuiteError, match="another process"), run.locked():
        pass
    other.kill()
    other.communicate()
    with run.locked():
        assert (run.folder / ".lock").exists()


def test_ids_that_would_leave_the_folder_are_refused(tmp_path):
    run = RunStore.create("smoke", tmp_path)
    for name in ("../x", "a/b", "", ".hidden", "a\0b"):
        with pytest.raises(DataError):
            run.cell_folder(name)


def test_a_root_that_is_a_file_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SuiteError, match="cannot be made"):
        RunStore.create("smoke", tmp_path / "file")


def test_runs_are_listed_oldest_first(tmp_path):
    created = [RunStore.create("smoke", tmp_path).folder for _ in range(2)]
    (tmp_path / "smoke" / "not-a-run").mkdir()
    assert sorted(runs(tmp_path)) == sorted(created)
    assert latest("smoke", tmp_path) == max(created, key=lambda path: path.name)
    assert latest("other", tmp_path) is None
    with pytest.raises(SuiteError):
        RunStore.open(tmp_path)


def test_the_summary_lists_every_category_and_the_worst_exit_code(tmp_path):
    latency = Latency(
        median_s=interval(0.1), p90_s=interval(0.2), p99_s=interval(0.3), throughput_images_per_s=interval(10.0),
        samples=10, rounds=5, launches=2, steady=True,
    )  # fmt: skip
    found = [
        record("a", latency=latency),
        record("b", "crashed", reason="signal 9"),
        record("c", "nan"),
        record("d", "ok"),
    ]
    cells = [item.cell for item in found] + [cell("e")]
    facts = RunFacts(suite="s", run="r", started_utc="x", finished_utc="y", seconds={"total": 1.5})
    summary = summarize_run(cells, {item.cell.id: item for item in found}, facts)
    assert summary.exit_code == 3
    assert summary.categories["ok"] == ("a", "d")
    assert summary.categories["crashed"] == ("b",)
    assert summary.categories["hung"] == ()
    assert summary.not_run == ("e",)
    assert summary.rows[0].median_s == interval(0.1)
    run = RunStore.create("s", tmp_path)
    run.write_summary(summary)
    assert run.read_summary() == summary
    assert json.loads((run.folder / "summary.json").read_text())["schema_version"] == 1


def test_a_run_without_one_good_cell_is_inconclusive_and_an_interrupted_one_says_so():
    facts = RunFacts(suite="s", run="r", started_utc="x", finished_utc="y")
    skipped = record("a", "skipped", reason="no cuda")
    assert summarize_run([skipped.cell], {"a": skipped}, facts).exit_code == 5
    good = record("b")
    interrupted = facts.model_copy(update={"interrupted": True})
    assert summarize_run([good.cell], {"b": good}, interrupted).exit_code == 130


def test_the_precedence_of_exit_codes():
    order = [70, 2, 3, 4, 1, 5, 0]
    for i, code in enumerate(order):
        assert worst(order[i:]) == code
    assert worst([]) == 0
    assert worst([0, 17]) == 70


def test_summary_and_record_have_schemas_that_accept_what_is_written():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    written = record(phases=Phases(import_s=0.5))
    jsonschema.validate(json.loads(written.model_dump_json()), Record.model_json_schema(mode="serialization"))
    facts = RunFacts(suite="s", run="r", started_utc="x", finished_utc="y")
    summary = summarize_run([written.cell], {written.cell.id: written}, facts)
    schema = Summary.model_json_schema(mode="serialization")
    jsonschema.validate(json.loads(summary.model_dump_json()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"suite": 3}, schema)


def test_files_can_be_read_by_others(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "{}")
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text() == "{}"


def test_a_training_without_an_envelope_is_read_and_one_whose_envelope_is_damaged_refused() -> None:
    plain = {"epochs": [], "losses": [1.0]}
    assert Training.model_validate(plain | {"envelope": {}}).envelope is None, "as old versions wrote it"
    with pytest.raises(ValidationError, match="steps_compared"):
        Training.model_validate(plain | {"envelope": {"middle": [1.0]}})
