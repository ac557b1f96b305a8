"""TensorFlow with the kernels that it does not take by itself on this processor: oneDNN's, or its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = HERE.parents[1] / "conformance/test_shared_cases.py"
PROGRAMS = HERE / "test_tensorflow_programs.py"
OPS = (
    f"{HERE.parent / 'test_ops.py'}::test_ops_equal_the_reference[tensorflow-graph-convolution-float32-auto]",
    f"{PROGRAMS}::test_gradients_in_bfloat16_are_summed_in_something_wider[padding2-graph]",
)
CONVOLUTIONS = (f"{CASES}::test_every_case_passes_where_graphs_are_compiled[tensorflow-graph-float32-conv]",)


@pytest.mark.tensorflow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("held", [OPS, pytest.param(CONVOLUTIONS, marks=pytest.mark.slow)], ids=["ops", "every case"])
def test_convolutions_are_right_with_the_other_kernels_too(held):
    framework = pytest.importorskip("cnnbench_tensorflow.framework", reason="needs tensorflow")
    other = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0" if framework.ONEDNN else "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-m",
        "slow or not slow",
        *held,
    ]
    done = subprocess.run(command, env=other, capture_output=True, text=True, check=False, cwd=HERE.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(held)} passed" in done.stdout
