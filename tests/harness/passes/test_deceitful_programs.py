"""Programs that pass the checks and do something else while they are timed: each ends its cell, with the reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_machine import FakeMachine
from small_suite import small_suite

from cnnbench.harness.passes.limits import RoundFacts, dishonest
from cnnbench.harness.passes.timed_answers import windows
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan
from cnnbench.measurement.observation import Observation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
SUPPORT = str(Path(__file__).parents[2] / "support")
LATENCY = {"launches": 1, "rounds": 3, "samples": 4, "max_round_s": 0.1, "controls": False, "warmup": {"max_s": 0.2}}
WRONG = {
    "batch_of_three": "the first call: output logits of image 1 is",
    "odd_batch": "the first call: output logits of image 1 is",
    "second_call": "times the envelope",
    "twentieth_call": "times the envelope",
    "after_prepare": "the first call: output logits",
    "warm_half": "times the envelope",
    "one_image": "from an earlier call's",
}
LIES = {
    "kept_by_value": "results are kept",
    "paced": "results are kept",
    "lazy": "reading a result took",
    "lazy_once": "longer than reading them again",
}
# What puts its work off is also faster than this machine can be: whichever of two true reasons comes first.
TOO_FAST = "no less than"


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Runs modes of the deceitful backend; gives their records by mode."""
    from cnnbench.registry import forget_plugins

    monkeypatch.setenv("CNNBENCH_PLUGINS", "deceitful_programs")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [SUPPORT, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path / "cache"))
    forget_plugins()

    def start(*modes, matrix=None, memory=False, **changes):
        blocks = {"backends": [{"name": "deceitful", "mode": list(modes)}], "batch": [3]} | (matrix or {})
        measure = {"latency": None if memory else LATENCY, "memory": memory, "yardsticks": False}
        asked = small_suite("lies", matrix=blocks, checks=("end_to_end",), measure=measure, **changes)
        found = {record.cell.mode: record for record in run(plan(asked), RunOptions(root=tmp_path)).records}
        for record in found.values():
            assert record.check("end_to_end").status == "passed", (
                "the fault shows at first sight, and tests nothing here"
            )
        return found

    yield start
    forget_plugins()


def test_what_timed_calls_give_is_compared_with_the_oracle_and_with_each_other(go):
    found = go("good", *WRONG, *LIES)
    assert found["good"].status == "ok", found["good"].reason
    assert found["good"].latency.samples > 0
    for mode, reason in WRONG.items():
        assert (mode, found[mode].status) == (mode, "mismatch"), found[mode].reason
        assert reason in found[mode].reason
        assert found[mode].reason.startswith("the timed program, ")
        assert found[mode].latency is None
    for mode, reason in LIES.items():
        assert (mode, found[mode].status) == (mode, "error"), found[mode].reason
        others = [TOO_FAST] if mode.startswith("lazy") else ["times as long as"] if mode.startswith("kept") else []
        assert any(text in found[mode].reason for text in (reason, *others)), (mode, found[mode].reason)
        assert found[mode].latency is None


@pytest.mark.alone
@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("patched_clock", "the worker's clock counted"),
        ("other_process", "processes that its worker started used"),
        ("twice_the_threads", ""),  # by its processor time, or by its threads that go on
    ],
)
def test_a_clock_of_its_own_and_processors_beyond_those_asked_are_no_result(go, mode, reason):
    if mode == "twice_the_threads" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    (record,) = go(mode, matrix={"threads": [1]}).values()
    assert record.status == "error"
    assert reason in record.reason
    assert record.latency is None


def test_the_memory_of_another_process_counts(go):
    (record,) = go("large_child", memory=True).values()
    assert record.status == "ok", record.reason
    assert 450 * 2**20 < record.memory.peak_bytes < 700 * 2**20


@pytest.mark.parametrize(
    ("latency_s", "status"), [(888e-9, "error"), (0.02, "ok")], ids=["a kept result", "as long as it takes"]
)
def test_a_latency_below_the_limit_of_the_machine_is_an_error(tmp_path, latency_s, status):
    """The fake machine multiplies at 100 GFLOP/s."""
    machine = FakeMachine({"numpy": latency_s})
    asked = small_suite("limit", matrix={"architectures": ["resnet20"], "image": [32], "batch": [8]})
    (record,) = run(plan(asked), RunOptions(root=tmp_path), executor=machine.executor).records
    assert record.status == status
    if status == "error":
        assert "its latency cannot be believed: a call takes 0.888 us, and no less than" in record.reason
        assert "100 GFLOP/s" in record.reason


def observed(wall_s=1.0, processor_s=0.9):
    return Observation(wall_s, processor_s, None, None, None, None)


def facts(**changes):
    told = {
        "used_s": (0.1, 0.1, 0.1, 0.1),
        "again": (False, False, True, True),
        "elapsed_s": 1.0,
        "calls": 10,
        "observed": observed(),
        "parent_s": 1.01,
        "idle_after_s": 0.05,
        "children_s": 0.0,
    }
    return RoundFacts(**told | changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, None),
        ({"elapsed_s": 0.5}, "clock counted 0.500 s in a round that took 1.010 s"),
        ({"elapsed_s": 1.2}, "clock counted 1.200 s in a round that took 1.010 s"),
        ({"parent_s": 1.15}, None),
        ({"parent_s": None, "elapsed_s": 9.0}, None),
        ({"observed": observed(processor_s=1.9)}, None),
        ({"observed": observed(processor_s=3.9)}, "it kept 3.9 processors busy, and 2 were asked for"),
        ({"children_s": 0.5}, "used 1.00 s of processor time in 2.00 s"),
        ({"idle_after_s": 0.51}, "its threads were still at work 0.5 s after each round"),
        ({"used_s": (0.1, 0.1, 1e-3, 1e-3)}, "a call uses 100 ms of processor time on a new input and at most 1 ms"),
        ({"used_s": (0.1, 0.1, 0.06, 0.06)}, None),
        ({"used_s": (5e-3, 5e-3, 1e-6, 1e-6)}, None),
    ],
)
def test_what_rounds_show_that_cannot_be(changes, text):
    found = dishonest([facts(**changes), facts(**changes)], 2)
    assert (found is None) if text is None else (text in found)


@pytest.mark.parametrize("name", ["elapsed_s", "idle_after_s"])
def test_one_round_of_a_busy_machine_is_no_lie(name):
    assert dishonest([facts(**{name: 0.5 if name == "elapsed_s" else 3.0}), facts()], 2) is None


def test_windows_go_round_over_all_images_and_leave_the_last_known_one_for_the_end():
    def first(count, *how):
        found = windows(*how)
        return [next(found) for _ in range(count)]

    assert first(3, 10, 8, 2)[1] == (1, 2, 3, 4, 5, 6, 7, 8)
    many = first(40, 10, 8, 2)
    assert len(set(many)) == 40
    assert np.ptp([len(set(window)) for window in many]) == 0
    alone = first(20, 6, 1, 2)
    assert {i for (i,) in alone} == {0, 2, 3, 4, 5}
    assert first(2, 1, 1, 1) == [(0,), (0,)]
