"""Scratch folders: those of the living stay, those of the dead go."""

from __future__ import annotations

import subprocess
import sys

from cnnbench.harness.worker.scratch import scratch_prefix, sweep


def test_only_folders_of_processes_that_are_gone_are_swept(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    dead = tmp_path / f"cnnbench-worker-{process.pid}-abc"
    mine = tmp_path / f"{scratch_prefix('material')}xyz"
    foreign = tmp_path / "cnnbench-notes"
    for folder in (dead, mine, foreign):
        folder.mkdir()
        (folder / "file").write_text("content")
    assert sweep(tmp_path) == [dead]
    assert not dead.exists()
    assert mine.exists()
    assert foreign.exists()


def test_a_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "cnnbench-worker-999999999-abc").symlink_to(elsewhere)
    assert sweep(tmp_path) == []
    assert elsewhere.exists()
