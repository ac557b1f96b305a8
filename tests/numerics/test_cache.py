"""The cache of oracles is never a requirement: where it cannot be written, a folder of the process stands in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnnbench.numerics.cache import FOLDER_VARIABLE, Cache

PROGRAM = """
import json, os, subprocess, sys
import numpy as np
from cnnbench.numerics.cache import Cache
made = Cache.of_user()
entry = made.entry("k", lambda entry: entry.write("x", np.arange(3)))
code = "from cnnbench.numerics.cache import Cache; print(Cache.of_user().folder)"
theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
print(json.dumps([str(made.folder), theirs, entry.read("x").tolist()]))
"""


def used(**changes: str | None) -> tuple[Path, Path, list[int]]:
    """Where a new process, and one that it starts, keep oracles; and what it reads back."""
    environment = {**os.environ, "XDG_CACHE_HOME": None, FOLDER_VARIABLE: None, **changes}
    environment = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ours, theirs, values = json.loads(done.stdout)
    return Path(ours), Path(theirs), values


@pytest.mark.parametrize(
    "changes", [{"HOME": "/proc/none"}, {"XDG_CACHE_HOME": "/proc/none"}, {FOLDER_VARIABLE: "/proc/none"}]
)
def test_a_folder_that_cannot_be_made_is_replaced_and_shared_and_goes_with_the_process(
    changes: dict[str, str], tmp_path: Path
) -> None:
    ours, theirs, values = used(**changes, TMPDIR=str(tmp_path))
    assert values == [0, 1, 2]
    assert ours == theirs
    assert tmp_path in ours.parents
    assert not list(tmp_path.iterdir())


def test_no_home_and_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As for a user id that no file of users knows."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME", FOLDER_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(FOLDER_VARIABLE, "")  # so that what is set there is taken back
    monkeypatch.setattr(Path, "home", staticmethod(home))
    entry = Cache.of_user().entry("k", lambda entry: entry.write("x", np.ones(2)))
    assert entry.read("x").tolist() == [1.0, 1.0]


def test_a_disk_that_becomes_full_or_read_only_costs_no_oracle(tmp_path: Path) -> None:
    made = Cache(tmp_path / "oracle")
    calls = []

    def fill(entry: object) -> None:
        calls.append(entry)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        entry.write("x", np.zeros(1))  # type: ignore[attr-defined]

    entry = made.entry("full", fill)
    assert entry.read("x").tolist() == [0.0]
    assert tmp_path not in entry.path.parents
    assert not list((tmp_path / "oracle").iterdir())


def test_what_another_user_owns_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Cache(tmp_path / "oracle")
    made.entry("k", lambda entry: entry.write("x", np.zeros(1)))

    def refuse(path: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert made.entry("k", lambda entry: pytest.fail("it is there")).read("x").tolist() == [0.0]
