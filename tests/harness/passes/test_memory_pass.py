"""Each cell is weighed in a worker of its own; the next one's worker is started meanwhile, and nothing is lost."""

from __future__ import annotations

import threading

import pytest
from fake_machine import FakeMachine
from small_suite import LATENCY, small_suite

from cnnbench.errors import WorkerError
from cnnbench.harness.passes.facts import Machine
from cnnbench.harness.run.executors import LocalExecutor
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.protocol.memory import NullMemoryReply, NullMemoryRequest, PeakMemoryRequest
from cnnbench.harness.worker.protocol.setup import LoadRequest

AHEAD = "worker-prefetch"


@pytest.fixture
def machine():
    return FakeMachine()


@pytest.fixture
def go(tmp_path, machine):
    """Weighs four programs; gives the result."""

    def start(latency=LATENCY, executor=None):
        matrix = {"batch": [1, 2], "backends": [{"name": "numpy", "mode": ["fast", "reference"]}]}
        measure = {"latency": latency, "memory": True, "yardsticks": False}
        planned = plan(small_suite("weighed", matrix=matrix, measure=measure))
        return run(planned, RunOptions(root=tmp_path), executor=executor or machine.executor)

    return start


@pytest.fixture
def ahead(machine):
    """Whether each worker for memory was started beside the measurement before it."""
    found = []

    def spy(worker, request):
        if worker.spec.exact_memory:
            found.append(threading.current_thread().name.startswith(AHEAD))

    machine.answers[LoadRequest] = spy
    return found


def test_the_next_cells_worker_starts_beside_the_present_measurement(go, machine, ahead):
    result = go()
    assert [record.status for record in result.records] == ["ok"] * 4
    for record in result.records:
        assert (record.memory.total_peak_bytes, record.memory.null_bytes) == (80 * 2**20, 50 * 2**20)
        assert record.memory.peak_bytes == 30 * 2**20
    assert sorted(ahead) == [False, True, True, True]  # the first two start beside each other
    weighing = [worker for worker in machine.started if worker.spec.exact_memory]
    assert len(weighing) == 4
    assert not any(worker.alive for worker in weighing)


def test_no_import_runs_beside_phases_that_only_the_memory_pass_times(go, ahead):
    result = go(None)
    assert [record.status for record in result.records] == ["ok"] * 4
    assert ahead == [False] * 4
    assert {record.phases.import_s for record in result.records} == {1.0}


def test_a_worker_that_does_not_start_ahead_is_started_when_its_cell_comes(go, machine, ahead):
    def refusing(spec, **options):
        if threading.current_thread().name.startswith(AHEAD):
            raise WorkerError("not now")
        return machine(spec, **options)

    result = go(executor=LocalExecutor(Machine(refusing, machine.clock.clock)))
    assert [record.status for record in result.records] == ["ok"] * 4
    assert ahead == [False] * 4


def test_where_memory_cannot_be_measured_the_record_says_why(go, machine):
    none = NullMemoryReply(null_bytes=None, unavailable="no /proc")
    machine.answers[NullMemoryRequest] = lambda worker, request: none
    for record in go().records:
        assert (record.status, record.memory) == ("ok", None)
        assert "memory was not measured: no /proc" in record.observed.notes


def test_a_cell_that_fails_while_it_is_weighed_ends_alone(go, machine):
    machine.fail(PeakMemoryRequest, lambda worker, request: "-reference-b2" in request.cell, WorkerError("gone"))
    assert sorted(record.status for record in go().records) == ["error", "ok", "ok", "ok"]


def test_an_interruption_leaves_no_worker_behind(go, machine, ahead):
    machine.fail(NullMemoryRequest, lambda worker, request: True, KeyboardInterrupt())
    result = go()
    assert result.summary.interrupted
    assert sorted(ahead) == [False, True]
    assert not any(worker.alive for worker in machine.started)
