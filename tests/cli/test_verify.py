"""``cnnbench verify``: green on a right backend, 4 with the node on an injected fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnbench.cli.entry import execute
from cnnbench.numerics.checks import CHECKS


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
