"""``cnnbench weights``: made from a seed, imported by name, listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cnnbench.cli.entry import execute
from cnnbench.spec.architectures import build
from cnnbench.spec.weights import initialize, load


def test_init_is_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert execute(["weights", "init", "lenet5", "--seed", seed, "-o", str(tmp_path / name)]) == 0
    contents = [(tmp_path / name).read_bytes() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]
    arrays = load(tmp_path / "a")
    assert {name: array.shape for name, array in arrays.items()} == {
        spec.name: spec.shape for spec in build("lenet5").named_weights()
    }


def test_import_keeps_arrays_that_have_the_networks_names(tmp_path: Path) -> None:
    arrays = initialize(build("resnet20"), 5)
    save_file(arrays, tmp_path / "theirs.safetensors")
    output = tmp_path / "ours.safetensors"
    assert execute(["weights", "import", "resnet20", str(tmp_path / "theirs.safetensors"), "-o", str(output)]) == 0
    imported = load(output)
    assert all(np.array_equal(imported[name], array) for name, array in arrays.items())
    assert set(imported) == set(arrays)


def test_import_of_what_does_not_fit_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "theirs.safetensors")
    output = tmp_path / "ours.safetensors"
    assert execute(["weights", "import", "lenet5", str(tmp_path / "theirs.safetensors"), "-o", str(output)]) == 2
    assert not output.exists()
    assert "theirs.safetensors" in capsys.readouterr().err


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a.weight": np.array([[1.0, -3.0]], np.float32), "a.bias": np.array([np.nan], np.float32)}, path)
    assert execute(["weights", "inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in report["arrays"]}
    assert rows["a.weight"] == {
        "name": "a.weight", "dtype": "float32", "shape": [1, 2], "values": 2, "min": -3.0, "max": 1.0, "mean": -1.0,
    }  # fmt: skip
    assert rows["a.bias"]["max"] is None
    assert execute(["weights", "inspect", str(path)]) == 0
    assert "2 arrays, 3 values" in capsys.readouterr().out


def test_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w").write_bytes(b"no")
    assert execute(["weights", "inspect", str(tmp_path / "w")]) == 2
    assert "not valid safetensors" in capsys.readouterr().err
