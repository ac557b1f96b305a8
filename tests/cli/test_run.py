"""``cnnbench run`` from the command line to the files: one small suite on NumPy in real workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.cli.entry import execute
from cnnbench.cli.run import _program

SUITE = """\
schema_version: 1
name: small
matrix:
  architectures: lenet5
  backends: [{name: numpy, mode: reference}, {name: numpy, mode: fast}]
  data: digits
checks: [local, end_to_end, determinism]
measure:
  latency: {launches: 1, rounds: 3, samples: 3, warmup: {max_s: 1}}
  memory: false
  yardsticks: false
train: {architectures: lenet5, epochs: 1, batch: 128}
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def cnnbench(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.yaml").write_text(SUITE)
    summary = str(folder / "summary.md")
    arguments = ("run", "small.yaml", "--json", "--no-mlflow", "--junit", "junit.xml")
    return folder, cnnbench(folder, *arguments, GITHUB_STEP_SUMMARY=summary)


def test_stdout_is_one_json_document_and_progress_is_on_stderr(done) -> None:
    _, process = done
    assert process.returncode == 0, process.stderr
    (run,) = json.loads(process.stdout)["runs"]
    assert run["summary"]["exit_code"] == 0
    assert [row["status"] for row in run["summary"]["rows"]] == ["ok", "ok"]
    assert "2 cells, records in" in process.stderr
    assert "epoch 1, loss" in process.stderr
    assert "Traceback" not in process.stderr


def test_the_runs_folder_holds_records_and_reports(done) -> None:
    folder, process = done
    run = folder / json.loads(process.stdout)["runs"][0]["folder"]
    names = {path.name for path in run.iterdir()}
    files = {"plan.json", "suite.resolved.yaml", "environment.json", "summary.json", "report.md", "report.html"}
    assert files <= names
    for cell in ("lenet5-numpy-reference-b1-1x32x32-float32-digits", "lenet5-numpy-fast-b1-1x32x32-float32-digits"):
        record = json.loads((run / "cells" / cell / "record.json").read_text())
        assert record["latency"]["samples"] == 9
        assert record["training"]["test_accuracy"] > 0
        assert {check["name"] for check in record["checks"]} == {"local", "end_to_end", "determinism"}


def test_junit_and_the_jobs_summary_are_written(done) -> None:
    folder, _ = done
    assert "lenet5-numpy-fast" in (folder / "junit.xml").read_text()
    assert "lenet5" in (folder / "summary.md").read_text()


def test_a_finished_run_resumes_to_the_same_records(done) -> None:
    folder, process = done
    again = cnnbench(folder, "run", "small.yaml", "--resume", "latest", "--json", "--no-mlflow")
    before, after = (json.loads(item.stdout)["runs"][0] for item in (process, again))
    assert again.returncode == 0, again.stderr
    assert Path(after["folder"]).name == Path(before["folder"]).name
    assert after["summary"]["rows"] == before["summary"]["rows"]


def test_the_same_run_gates_against_itself_as_unchanged_or_says_why_not(done) -> None:
    folder, _ = done
    assert cnnbench(folder, "baseline", "set", "small").returncode == 0
    process = cnnbench(folder, "gate", "small", "--json")
    verdicts = json.loads(process.stdout)["verdicts"]
    assert {item["verdict"] for item in verdicts} <= {"unchanged", "inconclusive"}
    assert {item["verdict"] for item in verdicts if item["metric"] in ("numerics", "accuracy")} == {"unchanged"}


def test_the_published_schemas_hold_for_what_was_written(done) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    from cnnbench.harness.run.schema import schemas

    folder, process = done
    run = folder / json.loads(process.stdout)["runs"][0]["folder"]
    jsonschema.validate(json.loads((run / "summary.json").read_text()), schemas()["summary.schema.json"])
    records = list(run.glob("cells/*/record.json"))
    assert records
    for path in records:
        jsonschema.validate(json.loads(path.read_text()), schemas()["record.schema.json"])


@pytest.mark.parametrize(
    ("called", "path", "named"),
    [
        (".venv/bin/cnnbench", "", ".venv/bin/cnnbench"),
        (".venv/bin/cnnbench", ".venv/bin", "cnnbench"),
        ("/x/cnnbench/__main__.py", "", "cnnbench"),
    ],
)
def test_hints_name_a_program_that_the_shell_finds(
    called: str, path: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / ".venv" / "bin" / "cnnbench"
    program.parent.mkdir(parents=True)
    program.write_text("", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setenv("PATH", path)
    assert _program() == named


def test_dry_run_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    assert execute(["run", str(path), "--dry-run", "-o", str(tmp_path / "runs"), "-k", "fast"]) == 0
    assert "1 cell in 1 comparison group\n" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_a_typo_ends_with_2_and_names_file_line_column_and_the_nearest_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text(SUITE.replace("rounds: 3", "ruonds: 3"))
    assert execute(["run", str(path), "-o", str(tmp_path / "runs")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path}:9:26: unknown key 'ruonds' in measure.latency" in err
    assert "did you mean 'rounds'?" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [[], ["--resume", "latest"], ["a.yaml", "b.yaml", "--resume", "latest"]])
def test_nothing_to_run_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["run", *arguments]) == 2
