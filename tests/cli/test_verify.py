"""``cnnbench verify``: green on a right backend, 4 with the node on an injected fault."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.cli.entry import execute
from cnnbench.numerics.checks import CHECKS
from cnnbench.output import figures


def verified(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    code = execute(["verify", *arguments, "--json"])
    return code, json.loads(capfd.readouterr().out)


def test_a_right_backend_passes(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, report = verified(capfd, "lenet5", "-b", "numpy:reference", "-b", "numpy:fast", "-o", str(tmp_path))
    assert code == 0
    assert [(row["mode"], row["status"]) for row in report["backends"]] == [("reference", "passed"), ("fast", "passed")]
    assert len(report["backends"][0]["checks"]) == len(CHECKS)
    assert all(0 <= (check["budget_used"] or 0) <= 1 for row in report["backends"] for check in row["checks"])


def test_a_fault_is_found_at_its_node_with_a_file_that_reproduces_it(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, report = verified(
        capfd, "lenet5", "-b", "numpy", "--check", "local", "--fault", "conv.kernel_flip", "-o", str(tmp_path)
    )
    (check,) = report["backends"][0]["checks"]
    assert code == 4
    assert (check["status"], check["node"]) == ("failed", "conv1")
    assert check["budget_used"] > 1000
    assert Path(check["reproducer"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-b", "numpi"), "did you mean 'numpy'?"),
        (("-b", "numpy:fsat"), "did you mean 'fast'?"),
        (("-b", "numpy", "--check", "locl"), "did you mean 'local'?"),
        (("-b", "numpy", "--fault", "conv.kernel_flop"), "did you mean 'conv.kernel_flip'?"),
        (("-b", "numpy", "--precision", "float33"), "did you mean 'float3"),
    ],
)
def test_wrong_names(capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert execute(["verify", "lenet5", *arguments]) == 2
    assert message in capfd.readouterr().err


def test_a_failure_says_how_to_replay_its_node_and_the_command_does(tmp_path, capsys) -> None:
    command = ["verify", "lenet5", "-b", "numpy", "--check", "local", "--fault", "conv.kernel_flip"]
    assert execute([*command, "-o", str(tmp_path)]) == 4
    said = re.search(r"reproduce with: cnnbench (replay .*)", capsys.readouterr().out)[1]
    assert execute(shlex.split(said)) == 0  # without the fault
    assert "passed: " in capsys.readouterr().out
    assert execute([*shlex.split(said), "--fault", "conv.kernel_flip", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["node"] == "conv1"
    assert execute(["replay", str(tmp_path / "none.safetensors")]) == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123, "12.3 %"), (9.9, "990 %"), (12.0, "12 times"), (3204.0, "3,204 times"), (3.21e6, "3.2e6 times"),
     (None, "–"), (float("inf"), "inf")],
)  # fmt: skip
def test_large_shares_of_a_budget_are_no_percentages(value: float | None, shown: str) -> None:
    assert figures.budget_used(value) == shown


def test_tensorflow_s_native_code_says_nothing_under_verify(tmp_path) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow")
    command = [sys.executable, "-m", "cnnbench", "verify", "lenet5", "-b", "tensorflow", "--check", "classes", "-q"]
    variables = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
