"""Timed detectors whose choices rounding decides are no mismatch; another rule of suppression is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from small_suite import small_suite

from cnnbench.harness.passes import timed_answers
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
SUPPORT = str(Path(__file__).parents[2] / "support")


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Runs the tied detector on a backend; gives its record."""
    from cnnbench.registry import forget_plugins

    monkeypatch.setenv("CNNBENCH_PLUGINS", "tied_detector")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [SUPPORT, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path / "cache"))
    forget_plugins()

    def start(backend):
        blocks = {"architectures": ["tied_detector"], "num_classes": None, "batch": [3]}
        asked = small_suite("ties", matrix={**blocks, "backends": [backend]}, checks=("end_to_end",))
        (record,) = run(plan(asked), RunOptions(root=tmp_path)).records
        assert record.check("end_to_end").status == "passed"
        return record

    yield start
    forget_plugins()


def test_a_choice_that_rounding_decides_is_no_mismatch(go, monkeypatch):
    asked = []
    right = timed_answers.TimedAnswers._right

    def seen(self, images):
        asked.append(right(self, images))
        return asked[-1]

    monkeypatch.setattr(timed_answers.TimedAnswers, "_right", seen)
    record = go("numpy")
    assert record.status == "ok", record.reason
    assert any(found is not None and len(found.answers) == 2 and not found.wrong for found in asked), (
        "no call had another choice, and nothing was tested"
    )


def test_a_threshold_that_is_another_while_it_is_timed_is_a_mismatch(go):
    record = go("lenient")
    assert record.status == "mismatch"
    assert "rounding cannot decide it" in record.reason
    assert record.latency is None
