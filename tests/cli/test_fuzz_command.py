"""``cnnbench fuzz``: exit codes, JSON, and a next call that goes on."""

from __future__ import annotations

import json
import sys

import pytest

from cnnbench.cli.entry import execute

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def test_a_call_goes_on_where_the_one_before_ended(tmp_path, capsys):
    line = ["fuzz", "-b", "numpy", "--count", "1", "--seed", "3", "-o", str(tmp_path)]
    assert execute([*line, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["number"], first["networks_now"], first["new"], first["seed"]) == (1, 1, [], 3)
    assert first["coverage"]
    assert execute(line) == 0
    shown = capsys.readouterr().out
    assert "2 networks in" in shown
    assert "1 of them now" in shown
    assert "not seen yet: " in shown


def test_what_cannot_be_run_is_refused(tmp_path, capsys):
    assert execute(["fuzz", "-b", "nupy", "--count", "1", "-o", str(tmp_path)]) == 2
    assert "did you mean 'numpy'" in capsys.readouterr().err
    assert execute(["fuzz", "-b", "numpy", "--minutes", "0", "-o", str(tmp_path)]) == 5
