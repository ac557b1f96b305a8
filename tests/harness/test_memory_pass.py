"""Each cell is weighed in a worker of its own; the next one's worker is started meanwhile, and nothing is lost."""

from __future__ import annotations

import sys
import threading

import pytest

from cnnbench.errors import WorkerError
from cnnbench.harness.passes import memory as memory_pass
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.pool import Pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
LATENCY = {"launches": 1, "rounds": 1, "samples": 1, "max_round_s": 0.1, "warmup": {"max_s": 1.0}}


@pytest.fixture
def go(faulty, tmp_path):
    """Runs four programs that are right; gives the result."""

    def start(latency):
        suite = {
            "schema_version": 1,
            "name": "weighed",
            "matrix": {
                "architectures": ["simple_cnn"], "image": [[1, 8, 8]], "num_classes": 10, "batch": [1, 2],
                "backends": [{"name": "faulty", "mode": ["good", "print"]}],
            },
            "checks": {"names": []},
            "measure": {"latency": latency, "memory": True, "yardsticks": False},
        }  # fmt: skip
        return run(plan(Suite.model_validate(suite)), RunOptions(root=tmp_path))

    return start


@pytest.fixture
def started(monkeypatch):
    """(thread, worker) of each worker for memory, as it is started."""
    found = []
    get = Pool.get

    def spy(self, spec):
        known = self.peek(spec)
        loaded = get(self, spec)
        if spec.exact_memory and loaded.worker is not known:
            found.append((threading.current_thread().name, loaded.worker))
        return loaded

    monkeypatch.setattr(Pool, "get", spy)
    return found


def ahead(started):
    return [thread.startswith("worker-prefetch") for thread, _ in started]


def test_the_next_cells_worker_starts_beside_the_present_measurement(go, started):
    result = go(LATENCY)
    assert [record.status for record in result.records] == ["ok"] * 4
    for record in result.records:
        assert record.memory.total_peak_bytes == record.memory.null_bytes + record.memory.peak_bytes
    assert sorted(ahead(started)) == [False, True, True, True]  # the first two start beside each other
    workers = [worker for _, worker in started]
    assert len({worker.pid for worker in workers}) == 4
    assert not any(worker.alive for worker in workers)


def test_no_import_runs_beside_phases_that_only_the_memory_pass_times(go, started):
    assert [record.status for record in go(None).records] == ["ok"] * 4
    assert ahead(started) == [False] * 4


def test_a_worker_that_does_not_start_ahead_is_started_when_its_cell_comes(go, started, monkeypatch):
    get = Pool.get

    def failing(self, spec):
        if threading.current_thread().name.startswith("worker-prefetch"):
            raise WorkerError("not now")
        return get(self, spec)

    monkeypatch.setattr(Pool, "get", failing)
    assert [record.status for record in go(LATENCY).records] == ["ok"] * 4
    assert ahead(started) == [False] * 4


def test_an_interruption_leaves_no_worker_behind(go, started, monkeypatch):
    def interrupted(session, cell, pool):
        raise KeyboardInterrupt

    monkeypatch.setattr(memory_pass, "_measure", interrupted)
    result = go(LATENCY)
    assert result.summary.interrupted
    assert ahead(started) == [True]
    assert not any(worker.alive for _, worker in started)
