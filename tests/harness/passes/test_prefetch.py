"""The oracle's answers to checks to come are computed ahead; nothing is lost where that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fake_machine import FakeMachine

from cnnbench.errors import WorkerError
from cnnbench.execution.backends import load_backend
from cnnbench.harness.passes import prefetch as module
from cnnbench.harness.passes.events import NoteAdded
from cnnbench.harness.passes.facts import Machine, PassFacts
from cnnbench.harness.passes.findings import Parts
from cnnbench.harness.passes.material import Materials
from cnnbench.harness.passes.prefetch import OraclePrefetcher
from cnnbench.harness.passes.train_settings import training_steps
from cnnbench.harness.passes.work import Work
from cnnbench.harness.run.executors import LocalExecutor
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.errors import RequestFailedError
from cnnbench.harness.worker.protocol.checks import PrefetchRequest
from cnnbench.numerics.cache import FOLDER_VARIABLE, Cache
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject

CHECKS = ["local", "exact", "end_to_end", "gradient", "determinism", "training"]


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """A plan of two networks on NumPy, with an empty cache and no network too small."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(module, "LEAST_MACS", 0)
    monkeypatch.setattr(module, "allowed_processors", lambda: (0, 1))
    suite = {
        "schema_version": 1,
        "name": "ahead",
        "matrix": {
            "architectures": ["lenet5", "simple_cnn"], "image": [[1, 32, 32]], "num_classes": 10,
            "backends": [{"name": "numpy", "mode": ["reference"]}],
        },
        "checks": {"names": CHECKS, "training_steps": 2},
        "measure": {"latency": None, "memory": False, "yardsticks": False},
    }  # fmt: skip
    return plan(Suite.model_validate(suite))


@pytest.fixture
def work_on(planned, tmp_path):
    """Makes the work of a check pass on a machine; its events are its attribute ``events``."""
    materials = Materials()

    def make(machine: Machine) -> Any:
        facts = PassFacts(planned.suite, materials, lambda cell: Parts(), lambda cell: tmp_path, machine=machine)
        events: list[Any] = []
        work = Work(facts, events.append)
        work.events = events  # type: ignore[attr-defined]
        return work

    yield make
    materials.close()


def checked(work, cell):
    """Runs a cell's checks on NumPy in this process."""
    checks, materials = work.facts.suite.checks, work.facts.materials
    material = materials.of(cell)
    case = Case(
        material.graph,
        read_arrays(material.arrays),
        materials.inputs(cell, checks.batch),
        replace(material.options, mode="fast"),
        seed=cell.seed,
        training=training_steps(work.facts.suite, cell),
    )
    return run_checks(cell.checks, InProcessSubject(load_backend("numpy")), case)


def test_what_the_checks_ask_for_is_there_before_they_run(planned, work_on, monkeypatch):
    filled = []  # by this process
    entry = Cache.entry

    def spy(self: Cache, key: str, fill: Callable[[Any], None]) -> Any:
        return entry(self, key, lambda made: (filled.append(key), fill(made))[1])

    monkeypatch.setattr(Cache, "entry", spy)
    work = work_on(Machine())
    with OraclePrefetcher(work, planned.runnable) as prefetcher:
        prefetcher.look_ahead(planned.runnable[0])
        prefetcher.wait_until_idle()
    assert filled == []
    for cell in planned.runnable:
        assert {outcome.status for outcome in checked(work, cell)} == {"passed"}
    assert len(filled) == 1  # the update rule on one linear layer, which is quick and the same for both


def test_a_check_waits_for_what_is_being_computed_and_takes_back_what_is_not(planned, work_on):
    machine, begun, finish = FakeMachine(), threading.Event(), threading.Event()

    def slow(worker: Any, request: PrefetchRequest) -> None:
        begun.set()
        assert finish.wait(60)

    machine.answers[PrefetchRequest] = slow
    first = planned.runnable[0]
    with OraclePrefetcher(work_on(machine.machine), planned.runnable) as prefetcher:
        prefetcher.look_ahead(first)
        assert begun.wait(60)
        for check in CHECKS[:-1]:
            prefetcher.expect(first, check)  # at once: it has not begun
        waiting = threading.Thread(target=prefetcher.expect, args=(first, "training"))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        finish.set()
        waiting.join(60)
        assert not waiting.is_alive()
        prefetcher.wait_until_idle()
    asked = [request.check for request in machine.requests(PrefetchRequest)]
    assert asked == ["training", *CHECKS]  # of this network the last check first, then the next network's in order


def test_a_run_goes_on_without_it_where_it_fails(planned, tmp_path):
    """The worker of the oracle, which has no backend, does not start; those of backends do."""

    def start(spec, *, start_timeout_s=120.0):
        if spec.backend is None:
            raise WorkerError("no second process here")
        return WorkerClient(spec, start_timeout_s=start_timeout_s)

    result = run(planned, RunOptions(root=tmp_path), executor=LocalExecutor(Machine(start)))
    assert {record.status for record in result.records} == {"ok"}
    assert result.exit_code == 0
    assert any("no second process here" in note for note in result.summary.notes)


def test_what_an_oracle_cannot_answer_is_left_to_the_check(planned, work_on):
    machine = FakeMachine()
    machine.fail(
        PrefetchRequest, lambda worker, request: request.check == "training", RequestFailedError("no such file")
    )
    work = work_on(machine.machine)
    with OraclePrefetcher(work, planned.runnable) as prefetcher:
        prefetcher.look_ahead(planned.runnable[0])
        prefetcher.wait_until_idle()
        assert len(machine.requests(PrefetchRequest)) == 2 * len(CHECKS)
    assert not [event for event in work.events if isinstance(event, NoteAdded)]


def test_leaving_in_the_middle_ends_the_worker_and_waits_for_nothing(planned, work_on):
    work = work_on(Machine())
    with OraclePrefetcher(work, planned.runnable) as prefetcher:
        prefetcher.look_ahead(planned.runnable[0])
        while not any(path.is_file() for path in Cache.of_user().folder.glob(".partial-*")):
            time.sleep(0.001)  # a folder of that name is the trial whether the cache can be written
        worker = prefetcher._worker
        start = time.monotonic()
    assert time.monotonic() - start < 30
    assert not worker.alive
    assert not any(Cache.of_user().folder.glob(".partial-*"))
    assert not [event for event in work.events if isinstance(event, NoteAdded)]


@pytest.mark.parametrize("reason", ["small networks", "one processor", "little memory"])
def test_there_is_none_where_it_would_not_pay(planned, work_on, monkeypatch, reason):
    if reason == "small networks":
        monkeypatch.setattr(module, "LEAST_MACS", 10**9)
    if reason == "one processor":
        monkeypatch.setattr(module, "allowed_processors", lambda: (0,))
    if reason == "little memory":
        monkeypatch.setattr(module, "available_bytes", lambda: 2**30)
    machine = FakeMachine()
    with OraclePrefetcher(work_on(machine.machine), planned.runnable) as prefetcher:
        prefetcher.look_ahead(planned.runnable[0])
        prefetcher.expect(planned.runnable[0], "local")
    assert machine.started == []
