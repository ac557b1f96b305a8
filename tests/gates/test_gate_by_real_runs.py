"""The gate on real runs of the command: the same twice, one backend slowed by a fifth, one with another epsilon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

SUPPORT = Path(__file__).parents[1] / "support"
SUITE = """
schema_version: 1
name: altered
matrix:
  architectures: [resnet20]
  backends: [plain, second, third]
  batch: 8
checks: []
measure:
  latency: {launches: 4, rounds: 8, samples: 8, max_round_s: 0.5}
  memory: false
gates:
  latency: {threshold: 0.10, min_change_s: 0.0002}
"""
CHECKED = """
schema_version: 1
name: checked
matrix:
  architectures: [resnet20]
  backends: [plain, odd_epsilon]
  batch: 2
  data: digits
checks: [end_to_end]
measure: {latency: null, memory: false}
"""


def cnnbench(folder: Path, *arguments: str, slowed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CNNBENCH_PLUGINS": "altered_backends",
        "PYTHONPATH": str(SUPPORT),
        "CNNBENCH_SLOWED": slowed,
    }
    return subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def verdicts(folder: Path) -> tuple[int, dict[str, str]]:
    """The gate's exit code and the latency verdict of each backend."""
    result = cnnbench(folder, "gate", "altered", "--json")
    found = json.loads(result.stdout)
    latency = {item["subject"]: item["verdict"] for item in found["verdicts"] if item["metric"] == "latency"}
    return result.returncode, {subject.split("-")[1]: verdict for subject, verdict in latency.items()}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_same_suite_twice_is_unchanged_and_a_backend_slowed_by_a_fifth_regresses(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    run = ("run", "suite.yaml", "--no-mlflow", "--quiet")
    first = cnnbench(tmp_path, *run)
    assert first.returncode == 0, first.stderr
    kept = cnnbench(tmp_path, "baseline", "set", "altered")
    assert kept.returncode == 0, kept.stderr

    assert cnnbench(tmp_path, *run).returncode == 0
    code, same = verdicts(tmp_path)
    assert (code, set(same.values())) == (0, {"unchanged"}), same

    assert cnnbench(tmp_path, *run, slowed="second:1.2").returncode == 0
    code, slowed = verdicts(tmp_path)
    assert code == 1, slowed
    assert slowed["second"] == "regressed"
    assert slowed["plain"] != "regressed"
    assert slowed["third"] != "regressed"


def test_a_wrong_epsilon_is_reported_at_its_node(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(CHECKED)
    result = cnnbench(tmp_path, "run", "suite.yaml", "--no-mlflow", "--json")
    assert result.returncode == 4, result.stderr
    folder = tmp_path / json.loads(result.stdout)["runs"][0]["folder"]
    records = [json.loads(path.read_text()) for path in folder.glob("cells/*/record.json")]
    status = {record["cell"]["backend"]: record for record in records}
    assert status["plain"]["status"] == "ok"
    (check,) = status["odd_epsilon"]["checks"]
    assert (status["odd_epsilon"]["status"], check["node"]) == ("mismatch", "bn1")
    assert (folder / "cells" / status["odd_epsilon"]["cell"]["id"] / check["reproducer"]).is_file()
