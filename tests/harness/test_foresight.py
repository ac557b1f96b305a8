"""The oracle's answers to checks to come are computed ahead; nothing is lost where that fails."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cnnbench.errors import WorkerError
from cnnbench.execution.backends import load_backend
from cnnbench.harness.passes import prefetch as module
from cnnbench.harness.passes.events import Note
from cnnbench.harness.passes.prefetch import OraclePrefetcher
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.session import Session
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.numerics.cache import FOLDER_VARIABLE, Cache
from cnnbench.numerics.case import Case, TrainingSteps
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject

CHECKS = ["local", "exact", "end_to_end", "gradient", "determinism", "training"]


@pytest.fixture
def planned(faulty, tmp_path, monkeypatch):
    """A plan of two networks on a backend that is right, with an empty cache and no network too small."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(module, "LEAST_MACS", 0)
    monkeypatch.setattr(module, "allowed_processors", lambda: (0, 1))
    suite = {
        "schema_version": 1,
        "name": "ahead",
        "matrix": {
            "architectures": ["lenet5", "simple_cnn"], "image": [[1, 32, 32]], "num_classes": 10,
            "backends": [{"name": "faulty", "mode": ["good"]}],
        },
        "checks": {"names": CHECKS, "training_steps": 2},
        "measure": {"latency": None, "memory": False, "yardsticks": False},
    }  # fmt: skip
    return plan(Suite.model_validate(suite))


@pytest.fixture
def session(planned, tmp_path):
    events = []
    found = Session(planned, RunOptions(root=tmp_path), RunStore.create("ahead", tmp_path), events.append)
    yield found
    found.materials.close()


@pytest.fixture
def filled(monkeypatch):
    """The keys of the entries that this process fills."""
    keys = []
    entry = Cache.entry

    def spy(self, key, fill):
        return entry(self, key, lambda made: (keys.append(key), fill(made))[1])

    monkeypatch.setattr(Cache, "entry", spy)
    return keys


def idle(prefetcher):
    """Waits until nothing is left to compute."""
    deadline = time.monotonic() + 60
    while prefetcher._jobs or prefetcher._running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def checked(session, cell):
    """Runs a cell's checks on NumPy in this process."""
    material = session.materials.of(cell)
    batch = session.materials.inputs(cell, session.plan.suite.checks.batch)
    case = Case(
        material.graph,
        read_arrays(material.arrays),
        batch,
        replace(material.options, mode="fast"),
        seed=cell.seed,
        training=TrainingSteps.of_steps(session.plan.suite.checks.training_steps),
    )
    return run_checks(cell.checks, InProcessSubject(load_backend("numpy")), case)


def test_what_the_checks_ask_for_is_there_before_they_run(session, filled):
    cells = session.plan.runnable
    with OraclePrefetcher(session, cells) as prefetcher:
        prefetcher.look_ahead(cells[0])
        idle(prefetcher)
    assert filled == []
    for cell in (cells[0], cells[-1]):
        assert {outcome.status for outcome in checked(session, cell)} == {"passed"}
    assert len(filled) == 1  # the update rule on one linear layer, which is quick and the same for both


class Slow:
    """A worker that answers when it is let."""

    pid = 0

    def __init__(self, spec):
        self.asked = []
        self.let = threading.Event()
        Slow.made = self

    def ask(self, request, *, timeout_s):
        self.asked.append(request.check)
        assert self.let.wait(timeout_s)
        return Done()

    def abort(self):
        self.let.set()

    def kill(self):
        pass


def test_a_check_waits_for_what_is_being_computed_and_takes_back_what_is_not(session, monkeypatch):
    monkeypatch.setattr(module, "WorkerClient", Slow)
    first = session.plan.runnable[0]
    with OraclePrefetcher(session, session.plan.runnable) as prefetcher:
        prefetcher.look_ahead(first)
        while not getattr(Slow, "made", None) or not Slow.made.asked:
            time.sleep(0.01)
        assert Slow.made.asked == ["training"]  # of this network the last check first
        for check in CHECKS[:-1]:
            prefetcher.expect(first, check)  # at once: it has not begun
        threading.Timer(0.2, Slow.made.let.set).start()
        start = time.monotonic()
        prefetcher.expect(first, "training")
        assert time.monotonic() - start > 0.1
        idle(prefetcher)
    assert Slow.made.asked == ["training", *CHECKS]  # then the next network's, in their order
    Slow.made = None


def test_a_run_goes_on_without_it_where_it_fails(planned, tmp_path, monkeypatch):
    def failing(spec):
        raise WorkerError("no second process here")

    monkeypatch.setattr(module, "WorkerClient", failing)
    events = []
    result = run(planned, RunOptions(root=tmp_path), [events.append])
    assert {record.status for record in result.records} == {"ok"}
    assert result.exit_code == 0
    assert any("no second process here" in event.text for event in events if isinstance(event, Note))


def test_what_an_oracle_cannot_answer_is_left_to_the_check(session, monkeypatch):
    jobs_of = OraclePrefetcher._jobs_of

    def damaged(self, cell):
        jobs = jobs_of(self, cell)
        missing = jobs[0].request.model_copy(update={"arrays": Path("/nowhere")})
        return [replace(jobs[0], request=missing), *jobs[1:]]

    monkeypatch.setattr(OraclePrefetcher, "_jobs_of", damaged)
    with OraclePrefetcher(session, session.plan.runnable) as prefetcher:
        prefetcher.look_ahead(session.plan.runnable[0])
        idle(prefetcher)
        assert not prefetcher._ended
    assert session.notes == []


def test_leaving_in_the_middle_ends_the_worker_and_waits_for_nothing(session):
    with OraclePrefetcher(session, session.plan.runnable) as prefetcher:
        prefetcher.look_ahead(session.plan.runnable[0])
        while not any(Cache.of_user().folder.glob(".partial-*")):
            time.sleep(0.001)
        worker = prefetcher._worker
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert not worker.alive
    assert not any(Cache.of_user().folder.glob(".partial-*"))
    assert session.notes == []


@pytest.mark.parametrize("reason", ["small networks", "one processor", "little memory"])
def test_there_is_none_where_it_would_not_pay(session, monkeypatch, reason):
    if reason == "small networks":
        monkeypatch.setattr(module, "LEAST_MACS", 10**9)
    if reason == "one processor":
        monkeypatch.setattr(module, "allowed_processors", lambda: (0,))
    if reason == "little memory":
        monkeypatch.setattr(module, "available_bytes", lambda: 2**30)
    with OraclePrefetcher(session, session.plan.runnable) as prefetcher:
        prefetcher.look_ahead(session.plan.runnable[0])
        prefetcher.expect(session.plan.runnable[0], "local")
        assert prefetcher._thread is None
