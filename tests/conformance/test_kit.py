"""The kit for plugin authors, tried on a backend of a distribution of its own (``tests/plugin_backend``)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "plugin_backend"
ROOT = Path(__file__).parents[2]
INSTALLED = os.pathsep.join(map(str, (PLUGIN, ROOT, ROOT / "backends")))  # and not the author's folder
SABOTEUR = """
from dataclasses import replace
from cnnbench.execution.operations import Operation
from cnnbench.hookspecs import hookimpl


@hookimpl
def cnnbench_operations(backend, operations):
    if backend == "indexed":
        own = operations["batch_norm"]

        def forward(layer, *rest):
            return own.forward(replace(layer, eps=1e-3), *rest)

        operations.register("batch_norm", backward=own.backward)(forward)
"""


def run(tmp_path: Path, text: str, *options: str, plugins: str = "") -> tuple[dict[str, int], str]:
    """pytest on a test file of the plugin's author: how many passed, failed and were skipped, and what was said."""
    file = tmp_path / "test_mine.py"
    file.write_text(text)
    environment = {
        **os.environ,
        "PYTHONPATH": INSTALLED,
        "CNNBENCH_PLUGINS": "cnnbench_indexed.plugin" + plugins,
        "CNNBENCH_CACHE": str(tmp_path / "cache"),
    }
    command = [
        str(Path(sys.executable).with_name("pytest")),
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        str(file),
        *options,
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    found = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    return found, done.stdout


SOME = """
from cnnbench.conformance import conformance_tests

globals().update(
    conformance_tests("indexed", precisions=("float32",), kinds=("batch_norm", "max_pool", "relu6"), onnx=False, {more})
)
"""


@pytest.mark.timeout(900)
def test_a_backend_that_is_not_among_the_four_passes(tmp_path):
    found, said = run(tmp_path, SOME.format(more="faults=False"))
    assert "failed" not in found, said
    assert "error" not in found, said
    assert found["passed"] > 30
    assert "indexed has no op for relu6" in said
    assert "dilated max pooling is left out" in said


@pytest.mark.timeout(900)
def test_a_backend_that_errs_does_not(tmp_path):
    (tmp_path / "saboteur.py").write_text(SABOTEUR)
    found, said = run(tmp_path, SOME.format(more="faults=False"), "-k", "batch_norm", plugins=",saboteur")
    assert found["failed"] >= 3
    assert re.search(r"layer \(batch_norm\), output: error is \d+ times the sharp budget", said)


@pytest.mark.timeout(900)
def test_each_fault_is_killed_in_the_author_s_backend(tmp_path):
    names = "conv.kernel_flip or batch_norm.biased_running_variance or sgd.nesterov"
    found, said = run(tmp_path, SOME.format(more=""), "-k", f"fault and ({names})")
    assert set(found) == {"passed"}, said
    assert found["passed"] >= 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_kit_passes(tmp_path):
    """As the plugin's own test file has it: every mode and precision, ONNX's cases, every fault."""
    found, said = run(tmp_path, (PLUGIN / "tests" / "test_conformance.py").read_text())
    assert "failed" not in found, said[-5000:]
    assert "error" not in found, said[-5000:]
    assert found["passed"] > 400


def test_the_entry_point_names_the_plugin():
    settings = tomllib.loads((PLUGIN / "pyproject.toml").read_text())
    assert settings["project"]["entry-points"]["cnnbench"] == {"indexed": "cnnbench_indexed.plugin"}
    text = (PLUGIN / "cnnbench_indexed" / "plugin.py").read_text()
    assert "@hookimpl\ndef cnnbench_backends" in text


def test_the_plugin_shares_nothing_with_the_shipped_backends():
    sources = [path.read_text() for path in (PLUGIN / "cnnbench_indexed").rglob("*.py")]
    assert len(sources) > 10
    assert not [
        text for text in sources if re.search(r"cnnbench_(numpy|torch|jax|tensorflow)|cnnbench\.numerics", text)
    ]
