"""docs/survival.md: every fault has a test that exists, and every test of survival stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "survival.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`pytest (?:-m slow )?'?(tests/survival/[^'`]+)'?`", PAGE)


@pytest.fixture(scope="module")
def collected() -> set[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "tests/survival"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_every_row_of_a_table_names_one_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| ---"))]
    assert len(rows) == len(COMMANDS) > 50


def test_every_test_that_is_named_exists(collected):
    for name in COMMANDS:
        assert any(item == name or item.startswith(f"{name}[") for item in collected), name


def test_every_test_of_faults_is_named(collected):
    """Good workers, which prove that the rest is measured, need no row."""
    files = ("test_workers", "test_plugins_and_files", "test_interruptions", "test_surroundings")
    wanted = {item for item in collected if item.split("/")[2].partition(".")[0] in files}
    missing = {item for item in wanted if not any(item == name or item.startswith(f"{name}[") for name in COMMANDS)}
    assert missing == {"tests/survival/test_workers.py::test_a_worker[good]"}
