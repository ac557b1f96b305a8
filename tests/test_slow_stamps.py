"""``.ci/slow`` runs a part again unless it has passed at this commit, with these packages and these files."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the script, and with programs in place of Python and pytest."""
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/slow", folder / ".ci/slow")
    (folder / ".gitignore").write_text("build/\n")
    programs = {"python": "cat ../packages", "pytest": 'echo "$@" >> ../calls; echo 1 passed; exit $(cat ../status)'}
    for name, line in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    (tmp_path / "packages").write_text("one")
    (tmp_path / "status").write_text("0")
    commit(folder, "init", "-q", ".")
    return folder


def commit(folder: Path, *command: str) -> None:
    for words in (command, ("add", "-A"), ("commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True)


def runs(folder: Path) -> bool:
    """Whether the part is run, and not passed over."""
    calls = folder.parent / "calls"
    calls.unlink(missing_ok=True)
    environment = os.environ | {"BIN": str(folder.parent / "bin")}
    subprocess.run([folder / ".ci/slow", "zoo"], cwd=folder, env=environment, capture_output=True, check=False)
    return calls.exists()


def test_what_has_passed_is_not_run_again(checkout: Path):
    assert [runs(checkout), runs(checkout)] == [True, False]


def test_another_commit_and_other_packages_are_run_anew(checkout: Path):
    assert runs(checkout)
    commit(checkout, "status")
    assert [runs(checkout), runs(checkout)] == [True, False]
    (checkout.parent / "packages").write_text("other")
    assert [runs(checkout), runs(checkout)] == [True, False]


@pytest.mark.parametrize("file", [".gitignore", "new.py"], ids=["changed", "new"])
def test_what_is_not_committed_is_run_each_time(checkout: Path, file: str):
    assert runs(checkout)
    with (checkout / file).open("a") as stream:
        stream.write("changed\n")
    assert [runs(checkout), runs(checkout)] == [True, True]


def test_what_has_failed_is_run_again(checkout: Path):
    (checkout.parent / "status").write_text("1")
    assert [runs(checkout), runs(checkout)] == [True, True]
