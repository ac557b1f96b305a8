"""The real command with the perilous plugin, in a folder of its own; nothing that it started outlives a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from real_command import RealCommand

HERE = str(Path(__file__).parent)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(HERE) in item.path.parents and sys.platform != "linux":
            item.add_marker(pytest.mark.skip(reason="worker processes are tested on Linux"))


def _made(folder: Path) -> RealCommand:
    return RealCommand(folder, paths=(HERE,))


@pytest.fixture
def command(tmp_path):
    made = _made(tmp_path)
    yield made
    made.clear()


@pytest.fixture(scope="module")
def shared_command(tmp_path_factory):
    made = _made(tmp_path_factory.mktemp("survival"))
    yield made
    made.clear()
