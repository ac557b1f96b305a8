"""A group that is too large for memory: timed in parts that share an anchor, with ratios through it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from small_suite import small_suite

from cnnbench.gates.compare import relative
from cnnbench.gates.evidence import read_evidence
from cnnbench.harness.passes import headroom as headroom_module
from cnnbench.harness.passes.headroom import MemoryHeadroom
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import plan, two_sided

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")

ROUNDS = 2


def suite(backends):
    latency = {"launches": 2, "rounds": ROUNDS, "controls": True}
    return small_suite("room", matrix={"backends": backends, "batch": 1, "threads": 1}, latency=latency)


FOUR = [
    {"name": "numpy", "mode": ["fast", "reference"]},
    {"name": "numpy", "layout": "channels_first"},
    {"name": "numpy", "layout": "channels_last"},
]


def rounds_of(result):
    """By cell and launch: the rounds in which it was timed."""
    store = RunStore.open(result.folder)
    found = {}
    for name, record in store.records().items():
        assert record.status == "ok", record.reason
        for sample in store.read_samples(name):
            found.setdefault((record.cell.key, record.cell.side, sample.launch), set()).add(sample.round)
    return found


def test_a_group_that_fits_is_timed_whole(tmp_path):
    result = run(plan(suite(FOUR)), RunOptions(root=tmp_path), [])
    assert set(map(frozenset, rounds_of(result).values())) == {frozenset(range(ROUNDS))}
    assert not any("parts" in note for note in result.summary.notes)


def test_a_group_that_does_not_is_timed_in_parts_that_share_an_anchor(tmp_path, monkeypatch):
    monkeypatch.setattr(MemoryHeadroom, "has_left", lambda self: False)
    result = run(plan(suite(FOUR)), RunOptions(root=tmp_path), [])
    found = rounds_of(result)
    for launch in range(2):
        rounds = sorted(
            (sorted(value) for key, value in found.items() if key[2] == launch), key=lambda found: (len(found), found)
        )
        assert rounds == [[0, 1], [2, 3], [4, 5], [0, 1, 2, 3, 4, 5]]
    assert sum("in 3 parts, for memory" in note for note in result.summary.notes) == 1
    table = relative(read_evidence(result.folder))
    assert len(table) == 4
    assert all(item.ratio.low <= item.ratio.value <= item.ratio.high for item in table)
    assert [item.rounds for item in table[1:]] == [2 * ROUNDS] * 3, "both launches have the same anchor"


def test_the_two_sides_of_a_cell_are_in_one_part(tmp_path, monkeypatch):
    monkeypatch.setattr(MemoryHeadroom, "has_left", lambda self: False)
    found = rounds_of(run(two_sided(plan(suite(FOUR))), RunOptions(root=tmp_path), []))
    assert len(found) == 4 * 2 * 2
    for (key, side, launch), rounds in found.items():
        assert found[key, "head" if side == "base" else "base", launch] == rounds


def test_room_is_judged_by_the_most_that_a_program_took(monkeypatch):
    code = "import sys; x = bytearray(int(sys.stdin.readline())); x[::4096] = b'1' * len(x[::4096]); print(1); input()"
    worker = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pool = SimpleNamespace(peek=lambda spec: SimpleNamespace(pid=worker.pid, alive=True))
    headroom = MemoryHeadroom(pool)
    monkeypatch.setattr(headroom_module.memory, "available_bytes", lambda: 0)
    assert headroom.has_left(), "nothing is known to take anything"
    with headroom.taken("a specification"):
        print(200 * 2**20, file=worker.stdin, flush=True)
        worker.stdout.readline()
    for available, fits in ((250, False), (400, True)):
        monkeypatch.setattr(headroom_module.memory, "available_bytes", lambda a=available: a * 2**20)
        assert headroom.has_left() is fits
    worker.communicate("\n")
    with headroom.taken("a process that has gone"):
        pass
    assert headroom.has_left()
