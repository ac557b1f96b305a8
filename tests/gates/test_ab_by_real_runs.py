"""``cnnbench ab`` with real interpreters: alike, slowed, dying, too old, interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import synthetic_run

import cnnbench as package
from cnnbench.gates.baselines import snapshot
from cnnbench.gates.compare import side_differences
from cnnbench.harness.worker.protocol.setup import PROTOCOL

SUPPORT = Path(__file__).parents[1] / "support"
SUITE = """
schema_version: 1
name: sides
matrix:
  architectures: [lenet5]
  backends: [plain, second]
  batch: 1
  threads: 1
checks: [end_to_end]
measure:
  latency: {controls: false, launches: 1, rounds: 5, samples: 4, max_round_s: 0.5, warmup: {max_s: 1}}
  memory: false
  yardsticks: false
gates:
  latency: {threshold: 0.5, min_change_s: 0.0001}
"""
ALIKE, SLOWER = "plain:0.03,second:0.03", "plain:0.03,second:0.09"
PLAIN, SECOND = (f"lenet5-{name}-fast-b1-1x32x32-float32-t1" for name in ("plain", "second"))

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux"),
]


def interpreter(path: Path, **variables: str) -> str:
    """A command that is this interpreter in another environment."""
    lines = "".join(f"export {name}={value!r}\n" for name, value in variables.items())
    path.write_text(f'#!/bin/sh\n{lines}exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def cnnbench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "suite.yaml").write_text(SUITE)
    environment = {
        **os.environ,
        "CNNBENCH_PLUGINS": "altered_backends",
        "PYTHONPATH": str(SUPPORT),
        "CNNBENCH_WAITING": ALIKE,
    }
    return subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def compared(folder: Path, head: str, *more: str) -> tuple[int, dict[str, Any]]:
    result = cnnbench(folder, "ab", "suite.yaml", "--base", sys.executable, "--head", head, "--json", "-q", *more)
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


def latency(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["subject"]: item for item in found["verdicts"] if item["metric"] == "latency"}


@pytest.fixture(scope="module")
def slowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("slowed")
    head = interpreter(folder / "python-head", CNNBENCH_WAITING=SLOWER)
    return folder, *compared(folder, head, "--no-mlflow", "--junit", "verdicts.xml")


def test_what_is_slower_in_the_heads_interpreter_regresses_and_what_is_not_is_unchanged(slowed) -> None:
    _, code, found = slowed
    verdicts = latency(found)
    assert code == found["exit_code"] == 1
    assert {name: item["verdict"] for name, item in verdicts.items()} == {PLAIN: "unchanged", SECOND: "regressed"}
    assert found["paired"]
    assert 2.4 < verdicts[SECOND]["change"]["value"] < 3.6
    assert verdicts[SECOND]["change"]["low"] > 1.5


def test_both_sides_are_recorded_with_what_is_installed_there(slowed) -> None:
    folder, _, found = slowed
    sides, run = found["sides"], folder / found["folder"]
    assert sides["base"]["path"] == sys.executable
    assert sides["head"]["path"] == str(folder / "python-head")
    for side in sides.values():
        assert side["packages"]["numpy"]
        assert side["plugins"]["cnnbench"] == side["cnnbench"] == package.__version__
        assert side["python"] == sys.version.split()[0]
    lock = json.loads((run / "lock.json").read_text())["sides"]
    assert lock["base"]["pluggy"] == lock["head"]["pluggy"]
    assert {item["name"] for item in found["differences"]} == {"path"}


def test_every_round_of_a_cell_has_both_sides_one_after_the_other(slowed) -> None:
    folder, _, found = slowed
    run = folder / found["folder"]
    records = {path.parent.name: json.loads(path.read_text()) for path in run.glob("cells/*/record.json")}
    assert set(records) == {PLAIN, SECOND, f"{PLAIN}-base", f"{SECOND}-base"}
    for name in (PLAIN, SECOND):
        head, base = records[name], records[f"{name}-base"]
        assert (head["cell"]["side"], base["cell"]["side"]) == ("head", "base")
        assert head["cell"]["key"] == base["cell"]["key"]
        assert head["latency"]["rounds"] == base["latency"]["rounds"] == 5


def test_reports_and_junit_tell_the_verdicts_and_gate_judges_again(slowed) -> None:
    folder, _, found = slowed
    run = folder / found["folder"]
    assert "base and head interleaved" in (run / "report.md").read_text()
    assert "<failure" in (folder / "verdicts.xml").read_text()
    again = cnnbench(folder, "gate", "latest", "--json")
    assert again.returncode == 1
    assert latency(json.loads(again.stdout)) == latency(found)


@pytest.mark.slow
def test_a_side_whose_worker_dies_loses_its_cell_only(tmp_path: Path) -> None:
    head = interpreter(tmp_path / "python-head", CNNBENCH_KILLED="second")
    code, found = compared(tmp_path, head, "--no-mlflow", "--set", "measure.latency.rounds=1", "--set", "checks=[]")
    verdicts = latency(found)
    rows = {row["id"]: row["status"] for row in found["summary"]["rows"]}
    assert code == 3
    assert rows == {PLAIN: "ok", f"{PLAIN}-base": "ok", SECOND: "crashed", f"{SECOND}-base": "ok"}
    assert verdicts[SECOND]["verdict"] == "not comparable"
    assert "SIGKILL" in verdicts[SECOND]["reason"]
    assert verdicts[PLAIN]["change"] is not None


def test_what_an_older_interpreter_cannot_tell_is_no_difference() -> None:
    old = {"path": "old/python", "python": "3.11.1", "cnnbench": "0.1.0", "packages": {}, "location": "", "git": None}
    new = {"path": "new/python", "python": "3.12.1", "cnnbench": "0.1.0", "packages": {"numpy": "2.4"}, "location": "x"}
    run = snapshot(replace(synthetic_run(), environment={"sides": {"base": old, "head": new}}))
    assert [item.name for item in side_differences(run)] == ["path", "python"]
    known = snapshot(
        replace(synthetic_run(), environment={"sides": {"base": {**new, "packages": {"numpy": "2.1"}}, "head": new}})
    )
    assert [(item.name, item.base, item.head) for item in side_differences(known)] == [("packages.numpy", "2.1", "2.4")]


OLD_WORKER = """
import json, os, sys
requests, replies = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb", buffering=0)
message = json.loads(requests.readline())
assert message["method"] == "hello"
facts = {"protocol": 1, "cnnbench": "0.0.9", "pid": os.getpid(), "feature": "since given up"}
replies.write(json.dumps({"number": message["number"], "result": facts}).encode() + b"\\n")
"""


def test_a_worker_of_another_protocol_is_refused_with_its_side_and_version(tmp_path: Path) -> None:
    old = tmp_path / "old" / "cnnbench" / "harness" / "worker"
    old.mkdir(parents=True)
    for folder in (old, old.parent, old.parent.parent):
        (folder / "__init__.py").write_text("")
    (old / "process.py").write_text(OLD_WORKER)
    head = interpreter(tmp_path / "python-old", PYTHONPATH=str(tmp_path / "old"))
    result = cnnbench(tmp_path, "ab", "suite.yaml", "--base", sys.executable, "--head", head)
    assert result.returncode == 2
    assert f"--head {head}: the head interpreter is refused" in result.stderr
    assert "protocol 1 of cnnbench 0.0.9" in result.stderr
    assert f"expected: protocol {PROTOCOL}" in result.stderr
    assert "remedy: install the same cnnbench" in result.stderr
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("base", "word"),
    [("no-such-python", "there is no such interpreter"), ("/bin/false", "the base interpreter is refused")],
)
def test_what_is_no_interpreter_is_told_before_anything_runs(tmp_path: Path, base: str, word: str) -> None:
    result = cnnbench(tmp_path, "ab", "suite.yaml", "--base", base)
    assert result.returncode == 2
    assert word in result.stderr
    assert not (tmp_path / "reports").exists()


def test_a_backend_that_one_side_lacks_is_skipped_on_both(tmp_path: Path) -> None:
    head = interpreter(tmp_path / "python-head", CNNBENCH_PLUGINS="")
    result = cnnbench(
        tmp_path, "ab", "suite.yaml", "--base", sys.executable, "--head", head, "--dry-run", "--json",
        "--set", "matrix.backends=[plain, numpy]",
    )  # fmt: skip
    assert "the same is installed on both sides" in result.stderr
    (plan,) = json.loads(result.stdout)["plans"]
    skips = {(cell["backend"], cell["side"]): cell["skip"] for cell in plan["cells"]}
    reason = f"head: {head} knows no backend 'plain'"
    expected = {("plain", "base"): reason, ("plain", "head"): reason, ("numpy", "base"): None, ("numpy", "head"): None}
    assert skips == expected


@pytest.mark.slow
def test_an_interrupted_comparison_is_resumed_with_the_interpreters_it_began_with(tmp_path: Path) -> None:
    head = interpreter(tmp_path / "python-head", CNNBENCH_KILLED="second")
    _, found = compared(tmp_path, head, "--no-mlflow", "--set", "measure.latency.rounds=3")
    interpreter(tmp_path / "python-head", CNNBENCH_WAITING=SLOWER)
    resumed = cnnbench(tmp_path, "ab", "--resume", "latest", "--json", "-q", "--no-mlflow")
    again = json.loads(resumed.stdout)
    assert again["folder"] == found["folder"]
    assert resumed.returncode == 1, resumed.stderr
    assert latency(again)[SECOND]["verdict"] == "regressed"
    record = json.loads((tmp_path / again["folder"] / "cells" / SECOND / "record.json").read_text())
    assert record["cell"]["side"] == "head"
