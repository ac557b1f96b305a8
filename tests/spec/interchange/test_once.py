"""A file is read once, and again when it is another."""

from __future__ import annotations

import os

import pytest

from cnnbench.errors import CnnbenchError
from cnnbench.harness.suite.networks import default_image, network
from cnnbench.spec.interchange.once import once_per_file

NETWORK = """
name: small
input: [1, {side}, {side}]
nodes:
  - {{name: flatten, kind: flatten}}
"""


def test_what_does_not_change_is_read_once(tmp_path):
    read = []
    load = once_per_file(lambda path, *, times=1: read.append(path.read_text()) or path.read_text() * times)
    path = tmp_path / "file"
    path.write_text("a")
    assert [load(path), load(path), load(path, times=2)] == ["a", "a", "aa"]
    assert read == ["a", "a"]


def test_a_file_of_the_same_size_that_was_written_again_is_read_again(tmp_path):
    load = once_per_file(lambda path: path.read_text())
    path = tmp_path / "file"
    path.write_text("a")
    assert load(path) == "a"
    path.write_text("b")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert load(path) == "b"


def test_a_missing_file_is_the_loader_s_to_report(tmp_path):
    load = once_per_file(lambda path: path.read_text())
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def test_a_network_that_its_user_edits_is_the_edited_one(tmp_path):
    path = tmp_path / "small.yaml"
    for side in (8, 12):
        path.write_text(NETWORK.format(side=side))
        name = f"file:{path}"
        assert default_image(name) == (1, side, side)
        assert network(name) is network(name)
    path.unlink()
    with pytest.raises(CnnbenchError):
        network(name)
