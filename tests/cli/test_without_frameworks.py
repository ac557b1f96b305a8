"""Core commands where no framework is installed: a finder hides them from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HIDE = """
import importlib.abc, importlib.util, sys

HIDDEN = ("torch", "jax", "jaxlib", "optax", "tensorflow", "keras")

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
find_spec = importlib.util.find_spec

def visible(name, package=None):
    return None if name.partition(".")[0] in HIDDEN else find_spec(name, package)

importlib.util.find_spec = visible
from cnnbench.cli.entry import execute
code = execute(sys.argv[1:])
sys.stdout.flush()
assert not [name for name in sys.modules if name.partition(".")[0] in HIDDEN]
sys.exit(code)
"""


def cnnbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HIDE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "architectures"),
        ("list", "layers"),
        ("list", "datasets"),
        ("list", "faults"),
        ("show", "resnet50"),
        ("doctor",),
        ("schema", "suite"),
        ("verify", "lenet5", "-b", "numpy", "--check", "end_to_end"),
    ],
    ids=" ".join,
)
def test_core_commands_work(arguments: tuple[str, ...]) -> None:
    done = cnnbench(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_backends_say_why_they_cannot_be_used() -> None:
    rows = {row["name"]: row for row in json.loads(cnnbench("list", "backends", "--json").stdout)}
    assert rows["numpy"]["available"]
    for name in ("torch", "jax", "tensorflow"):
        assert not rows[name]["available"]
        assert f"pip install 'cnnbench[{name}]'" in rows[name]["status"]


def test_a_plan_skips_what_is_missing_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "schema_version: 1\nname: s\nmatrix: {architectures: lenet5, backends: [numpy, torch, jax, tensorflow]}\n"
    )
    done = cnnbench("plan", str(path), "--json")
    skips = {cell["backend"]: cell["skip"] for cell in json.loads(done.stdout)["cells"]}
    assert skips["numpy"] is None
    assert all("is not installed" in skips[name] for name in ("torch", "jax", "tensorflow"))


def test_a_missing_backend_is_an_expected_error(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.zeros((1, 1, 32, 32), np.float32))
    options = ("--input", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"))
    done = cnnbench("predict", "lenet5", "-b", "torch", *options)
    assert done.returncode == 2
    assert "torch is not installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_has_nothing_to_check(tmp_path: Path) -> None:
    done = cnnbench("verify", "lenet5", "-b", "jax", "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout)["backends"][0]["status"] == "skipped"
