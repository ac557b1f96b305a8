"""A group that is too large for memory: timed in parts that share an anchor, with ratios through it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from fake_machine import FakeMachine
from small_suite import small_suite

from cnnbench.gates.compare import relative
from cnnbench.gates.evidence import read_evidence
from cnnbench.harness.passes.events import AnchorChosen
from cnnbench.harness.passes.headroom import MemoryHeadroom
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import plan, two_sided

ROUNDS = 2
FOUR = [
    {"name": "numpy", "mode": ["fast", "reference"]},
    {"name": "numpy", "layout": "channels_first"},
    {"name": "numpy", "layout": "channels_last"},
]


def suite():
    latency = {"launches": 2, "rounds": ROUNDS, "controls": True}
    return small_suite("headroom", matrix={"backends": FOUR, "batch": 1, "threads": 1}, latency=latency)


@pytest.fixture
def go(tmp_path):
    """Runs four cells on a machine without processes; gives the result, the events and the rounds of each cell."""

    def start(planned):
        events = []
        result = run(planned, RunOptions(root=tmp_path), [events.append], FakeMachine().executor)
        store = RunStore.open(result.folder)
        rounds = {}
        for record in result.records:
            assert record.status == "ok", record.reason
            for sample in store.read_samples(record.cell.id):
                rounds.setdefault((record.cell.key, record.cell.side, sample.launch), set()).add(sample.round)
        return result, events, rounds

    return start


@pytest.fixture
def full(monkeypatch):
    """Memory that has never room for more than two programs."""
    monkeypatch.setattr(MemoryHeadroom, "has_left", lambda self: False)


def test_a_group_that_fits_is_timed_whole(go):
    result, events, rounds = go(plan(suite()))
    assert set(map(frozenset, rounds.values())) == {frozenset(range(ROUNDS))}
    assert not any("parts" in note for note in result.summary.notes)
    assert not any(isinstance(event, AnchorChosen) for event in events)


@pytest.mark.usefixtures("full")
def test_a_group_that_does_not_is_timed_in_parts_that_share_an_anchor(go):
    result, events, found = go(plan(suite()))
    anchors = []
    for launch in range(2):
        of_launch = {key: sorted(value) for key, value in found.items() if key[2] == launch}
        assert sorted(of_launch.values(), key=lambda rounds: (len(rounds), rounds)) == [
            [0, 1], [2, 3], [4, 5], [0, 1, 2, 3, 4, 5]
        ]  # fmt: skip
        anchors += [key for (key, _, _), rounds in of_launch.items() if len(rounds) == 6]
    assert anchors[0] == anchors[1]
    assert [event.key for event in events if isinstance(event, AnchorChosen)] == anchors[:1]
    assert sum("in 3 parts" in note and "memory" in note for note in result.summary.notes) == 1
    table = relative(read_evidence(result.folder))
    assert len(table) == 4
    assert all(item.ratio.low <= item.ratio.value <= item.ratio.high for item in table)
    assert [item.rounds for item in table[1:]] == [2 * ROUNDS] * 3, "both launches have the same anchor"


@pytest.mark.usefixtures("full")
def test_the_two_sides_of_a_cell_are_in_one_part(go):
    _, _, found = go(two_sided(plan(suite())))
    assert len(found) == 4 * 2 * 2
    for (key, side, launch), rounds in found.items():
        assert found[key, "head" if side == "base" else "base", launch] == rounds


@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
def test_headroom_is_judged_by_the_most_that_a_program_took():
    code = "import sys; x = bytearray(int(sys.stdin.readline())); x[::4096] = b'1' * len(x[::4096]); print(1); input()"
    worker = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pool = SimpleNamespace(peek=lambda spec: SimpleNamespace(pid=worker.pid, alive=True))
    available = [0]
    headroom = MemoryHeadroom(pool, lambda: available[0])
    assert headroom.has_left(), "nothing is known to take anything"
    with headroom.taken("a specification"):
        print(200 * 2**20, file=worker.stdin, flush=True)
        worker.stdout.readline()
    for megabytes, fits in ((250, False), (400, True)):
        available[0] = megabytes * 2**20
        assert headroom.has_left() is fits
    worker.communicate("\n")
    with headroom.taken("a process that has gone"):
        pass
    assert headroom.has_left()
