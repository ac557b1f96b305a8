"""A composite kind of one's own takes one class in one file: listings, shared cases and checks find it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cnnbench

BLOCK = '''
from dataclasses import dataclass

from cnnbench.spec.composites import Composite
from cnnbench.spec.layers import BatchNorm, Conv, Example, Tanh


@dataclass(frozen=True, kw_only=True)
class ConvNormTanh(Composite, kind="conv_norm_tanh_of_scratch"):
    """A convolution, batch norm, tanh. Shapes: (N, C, H, W) -> (N, out_channels, H, W)."""

    out_channels: int

    example = Example((1, 3, 5, 6), out_channels=4)

    def expand(self, builder, *inputs):
        conv = Conv(out_channels=self.out_channels, kernel_size=3, padding=1, bias=False)
        x = builder.add("conv", conv, inputs[0])
        x = builder.add("bn", BatchNorm(), x)
        return builder.add("tanh", Tanh(), x)
'''
NETWORK = """
name: scratch
input: [3, 8, 8]
nodes:
  - {name: block, kind: conv_norm_tanh_of_scratch, out_channels: 4}
  - {name: pool, kind: global_avg_pool}
  - {name: fc, kind: linear, out_features: 3}
"""
CASES = """
from cnnbench.conformance import layer_cases, run_cases
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject

names = [name for name in layer_cases() if "scratch" in name]
subject = InProcessSubject(load_backend("numpy"))
for result in run_cases(subject, ProgramOptions("fast", precision("float32")), names):
    print(result.case, result.status)
"""
REFUSED = """
from cnnbench.conformance import layer_cases
from cnnbench.errors import SpecError

try:
    layer_cases()
except SpecError as error:
    print(error)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "scratch_block.py").write_text(BLOCK)
    return package


def run(folder: Path, *arguments: str) -> str:
    roots = {str(Path(cnnbench.__file__).parent.parent), *filter(None, sys.path)}
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *sorted(roots, key=sys.path.index)]),
        "CNNBENCH_PLUGINS": "scratch_block",
        "CNNBENCH_CACHE": str(folder.parent / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_class_is_listed_checked_and_verified(folder):
    rows = json.loads(run(folder, "-m", "cnnbench", "list", "layers", "-b", "numpy", "--json"))
    (row,) = (row for row in rows if row["kind"] == "conv_norm_tanh_of_scratch")
    assert (row["composite"], row["family"], row["budget"]) == (True, "scratch_block", "of its parts")
    assert row["example"] == {"inputs": [[1, 3, 5, 6]], "fields": {"out_channels": 4}}
    assert row["backends"]["numpy"]["how"] == "lowered"
    assert row["backends"]["numpy"]["parts"] == ["batch_norm", "conv", "tanh"]

    assert run(folder, "-c", CASES).split() == ["conv_norm_tanh_of_scratch/example", "passed"]

    network = folder.parent / "scratch.yaml"
    network.write_text(NETWORK)
    said = run(folder, "-m", "cnnbench", "verify", str(network), "-b", "numpy", "--json")
    assert "passed" in said
    assert [path.name for path in folder.iterdir()] == ["scratch_block.py"]


def test_a_kind_that_declares_no_example_and_does_not_take_the_default_has_no_case(folder):
    (folder / "scratch_block.py").write_text(BLOCK.replace("    example = Example((1, 3, 5, 6), out_channels=4)\n", ""))
    assert run(folder, "-c", CASES.replace("subject =", "assert not names, names\nsubject =", 1)) == ""
    rows = json.loads(run(folder, "-m", "cnnbench", "list", "layers", "-b", "numpy", "--json"))
    (row,) = (row for row in rows if row["kind"] == "conv_norm_tanh_of_scratch")
    assert row["backends"]["numpy"]["how"] == "unknown"
    assert "declare example = " in row["backends"]["numpy"]["reason"]


def test_an_example_that_the_kind_does_not_take_is_named(folder):
    (folder / "scratch_block.py").write_text(BLOCK.replace("out_channels=4)", "out_channels=0)", 1))
    said = run(folder, "-c", REFUSED)
    assert "the example of kind 'conv_norm_tanh_of_scratch' is not valid" in said
    assert "declare example = " in said
