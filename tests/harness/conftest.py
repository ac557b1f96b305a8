"""The faulty backend as a plugin of this process and of its workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)


@pytest.fixture
def faulty(monkeypatch, tmp_path):
    """Makes the backends ``faulty`` and ``unimportable`` known."""
    from cnnbench.registry import forget_plugins

    monkeypatch.setenv("CNNBENCH_PLUGINS", "faulty_backend")
    monkeypatch.setenv("FAULTY_MARK", str(tmp_path / "died"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")])))
    monkeypatch.syspath_prepend(HERE)
    forget_plugins()
    yield
    forget_plugins()
