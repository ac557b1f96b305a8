"""The files that a bundle holds are those that the run was planned with, or are left out with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_suite import small_suite

from cnnbench.harness.run.attachments import attachments_of
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.plan import plan

NETWORK = """\
name: net
inputs: [{name: image, shape: [1, 8, 8]}]
nodes:
  - {name: flat, kind: flatten}
  - {name: fc, kind: linear, out_features: 3}
"""


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    (tmp_path / "net.yaml").write_text(NETWORK)
    weights = {"fc.weight": np.ones((3, 64), np.float32), "fc.bias": np.zeros(3, np.float32)}
    save_file(weights, str(tmp_path / "w.safetensors"))
    matrix = {
        "architectures": [f"file:{tmp_path}/net.yaml"], "weights": f"{tmp_path}/w.safetensors", "num_classes": None
    }  # fmt: skip
    return plan(small_suite("s", matrix=matrix)).cells[0]


def reasons(cell: Cell) -> list[str]:
    return [item.reason for item in attachments_of((cell,)).values()]


def test_both_files_are_there_with_their_bytes(cell: Cell, tmp_path: Path) -> None:
    network, weights = attachments_of((cell,)).values()
    assert (network.name, network.member) == ("file:attachments/0/net.yaml", "attachments/0.yaml")
    assert network.data == NETWORK.encode()
    assert (weights.name, weights.data) == ("attachments/1/w.safetensors", (tmp_path / "w.safetensors").read_bytes())


def test_what_changed_since_the_run_is_left_out(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(NETWORK.replace("3}", "4}"))
    assert reasons(cell) == ["changed since the run", ""]
    (tmp_path / "w.safetensors").write_bytes(b"other")
    assert reasons(cell) == ["changed since the run"] * 2
    (tmp_path / "net.yaml").write_text("{")
    assert reasons(cell)[0] == "changed since the run"


def test_what_is_gone_or_too_large_is_left_out(cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.yaml").unlink()
    monkeypatch.setattr("cnnbench.harness.run.attachments.LARGEST_MEMBER_BYTES", 10)
    assert reasons(cell) == ["not here", "larger than 10 bytes"]


def test_registered_networks_and_files_of_packages_are_no_attachments(cell: Cell) -> None:
    other = cell.model_copy(update={"architecture": "lenet5", "weights": "package:zoo/a.npz"})
    assert attachments_of((other,)) == {}
