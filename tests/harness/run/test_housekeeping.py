"""What `gc` removes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cnnbench.cli.entry import execute
from cnnbench.harness.run.housekeeping import leftovers, remove
from cnnbench.harness.run.store import RunStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locks and processes are tested on Linux")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "oracle"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


def made(root, suite="some", measured=True):
    store = RunStore.create(suite, root)
    with store.locked():
        pass
    if measured:
        (store.folder / "cells" / "one" / "parts").mkdir(parents=True)
        (store.folder / "cells" / "one" / "parts" / "launch-0.json").write_text("{}")
    return store.folder


def found(root, tmp_path, **options):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return leftovers(root, scratch=scratch, **options)


def test_a_run_without_a_result_goes_and_one_with_a_part_stays(root, tmp_path):
    empty, begun = made(root, measured=False), made(root)
    assert [(item.path, item.why) for item in found(root, tmp_path)] == [(empty, "nothing was measured")]
    remove(found(root, tmp_path))
    assert not empty.exists()
    assert begun.exists()
    assert found(root, tmp_path) == []


def test_a_run_that_is_being_made_stays(root, tmp_path):
    store = RunStore.create("some", root)
    assert found(root, tmp_path) == []
    with store.locked():
        assert found(root, tmp_path) == []
    assert [item.path for item in found(root, tmp_path)] == [store.folder]


def test_the_newest_runs_of_each_suite_stay(root, tmp_path):
    folders = [made(root, suite) for suite in ("a", "a", "a", "b")]
    for number, folder in enumerate(folders):  # names sort by time, which may not have gone on
        folder.rename(folder.with_name(f"2026112{number}T000000.000Z-000000"))
    found_now = found(root, tmp_path, keep=2)
    assert [(item.path.name[:8], item.why) for item in found_now] == [("20261120", "a has 2 newer runs")]
    assert len(found(root, tmp_path, keep=0)) == 4


def test_a_run_in_use_is_not_even_named(root, tmp_path):
    held, free = made(root, measured=False), made(root, measured=False)
    with RunStore(held).locked():
        assert [item.path for item in found(root, tmp_path)] == [free]


def test_a_run_that_was_taken_into_use_meanwhile_stays(root, tmp_path):
    folder = made(root, measured=False)
    listed = found(root, tmp_path)
    with RunStore(folder).locked():
        assert remove(listed) == []
    assert folder.exists()


def test_what_was_half_removed_goes_next_time(root, tmp_path, monkeypatch):
    folder = made(root, measured=False)
    with monkeypatch.context() as broken:
        broken.setattr("shutil.rmtree", lambda path, ignore_errors: None)
        assert remove(found(root, tmp_path)) == []
    assert not folder.exists()
    assert [item.why for item in found(root, tmp_path)] == ["half removed"]
    assert len(remove(found(root, tmp_path))) == 1


def test_scratch_of_a_dead_process_goes_and_of_a_living_one_stays(root, tmp_path):
    scratch = tmp_path / "scratch"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number in (dead.pid, os.getpid()):
        (scratch / f"cnnbench-material-{number}-abc").mkdir(parents=True)
    assert [item.path.name for item in found(root, tmp_path)] == [f"cnnbench-material-{dead.pid}-abc"]


def test_oracles_go_only_when_asked_and_half_ones_when_their_process_is_gone(root, tmp_path, cache):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    half = f".partial-{dead.pid}-abc"
    for name in ("whole", f".partial-{os.getpid()}-abc", half, ".partial-abc"):
        cache.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(b"123")
    assert [item.path.name for item in found(root, tmp_path)] == [half]
    whole = found(root, tmp_path, cache=True)
    assert {item.path.name for item in whole} == {half, "whole"}
    assert {item.size_bytes for item in whole} == {3}


def test_the_command_says_what_would_go_and_takes_it_away(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "nothing"))
    folder = made(root, measured=False)
    assert execute(["gc", "--runs", str(root), "--dry-run"]) == 0
    assert "1 folders could go" in capsys.readouterr().out
    assert folder.exists()
    assert execute(["gc", "--runs", str(root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [item["path"] for item in shown["removed"]] == [str(folder)]
    assert not folder.exists()


def test_nothing_to_remove_is_well(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "nothing"))
    assert execute(["gc", "--runs", str(root)]) == 0
    assert "0 folders" in capsys.readouterr().out
