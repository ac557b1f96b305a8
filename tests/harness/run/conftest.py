"""Runs on a machine without processes."""

from __future__ import annotations

import pytest
from fake_machine import FakeMachine
from small_suite import TWO, small_suite

from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan


@pytest.fixture
def machine():
    return FakeMachine()


@pytest.fixture
def go(tmp_path, machine):
    """Runs the suite; gives the result and the events."""

    def start(matrix=TWO, *, resume=None, listeners=(), recorders=None, **changes):
        events = []
        options = RunOptions(root=tmp_path, resume=resume, recorders=recorders or {})
        planned = plan(small_suite("lives", matrix=matrix, **changes))
        result = run(planned, options, [events.append, *listeners], machine.executor)
        return result, events

    return start
