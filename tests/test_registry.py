"""Plugins: found by entry point and by name, rejected when they are wrong, and no broken one takes the others along."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(arguments: list[str], tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments],
        env={**os.environ, "PYTHONPATH": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def distribution(folder: Path, name: str, module: str) -> None:
    """An installed distribution, as far as importlib.metadata looks: an entry point to ``module``."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cnnbench]\n{name} = {module}\n")


@pytest.mark.parametrize("content", ["import nothing_like_this\n", "raise RuntimeError('broken on import')\n"])
def test_a_broken_entry_point_is_left_out_and_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken_plugin.py").write_text(content)
    distribution(tmp_path, "broken", "broken_plugin")
    result = run(["list", "backends"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "numpy" in result.stdout
    assert "plugin 'broken' is broken and left out" in result.stderr
    assert "broken, left out" in run(["doctor"], tmp_path).stdout


def test_a_backend_whose_plugin_is_broken_is_an_error_that_says_so(tmp_path: Path) -> None:
    distribution(tmp_path, "broken", "no_such_module")
    result = run(["verify", "lenet5", "-b", "broken"], tmp_path)
    assert result.returncode == 2
    assert "no_such_module" in result.stderr


def test_an_unknown_hook_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "odd_plugin.py").write_text(
        "from cnnbench.hookspecs import hookimpl\n\n@hookimpl\ndef cnnbench_backendz():\n    return ()\n"
    )
    result = run(["list", "backends"], tmp_path, CNNBENCH_PLUGINS="odd_plugin")
    assert result.returncode == 2
    assert "cnnbench_backendz" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_named_plugin_that_is_missing_is_an_error_of_use(tmp_path: Path) -> None:
    result = run(["list", "backends"], tmp_path, CNNBENCH_PLUGINS="no_such_module")
    assert result.returncode == 2
    assert "CNNBENCH_PLUGINS" in result.stderr
    assert "Traceback" not in result.stderr
