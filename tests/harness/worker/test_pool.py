"""A pool of workers, without processes: shared, started anew after a death, never started twice in vain."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from fake_worker import Answer, FakeWorker, FakeWorkers
from synthetic_run import synthetic_run

from cnnbench.errors import CnnbenchError, UnavailableError
from cnnbench.harness.worker.errors import RequestFailedError, WorkerCrashError, WorkerHungError
from cnnbench.harness.worker.interface import Worker
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.setup import LoadReply, LoadRequest
from cnnbench.harness.worker.protocol.timing import SampleRequest, TurnRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.stopwatch import Stopwatch

NUMPY, OTHER = WorkerSpec("numpy", threads=1), WorkerSpec("numpy", threads=1, side="base")


@pytest.fixture
def workers():
    return FakeWorkers({"numpy": 0.01}, kinds=("conv", "relu"))


@pytest.fixture
def pool(workers):
    with Pool(30.0, Stopwatch(), workers) as found:
        yield found


def test_cells_of_one_specification_share_a_worker(pool, workers):
    assert pool.get(NUMPY) is pool.get(NUMPY)
    assert pool.get(OTHER).worker is not pool.get(NUMPY).worker
    assert len(workers.started) == 2
    first, second = workers.requests(LoadRequest)
    assert first.backend == second.backend == "numpy"
    assert first.settings.threads == 1
    assert pool.get(NUMPY).kinds == ("conv", "relu")
    assert pool.get(NUMPY).import_s == workers.load_s


def test_a_worker_that_died_is_started_anew(pool, workers):
    pool.get(NUMPY).worker.kill()
    assert pool.peek(NUMPY).alive is False
    assert pool.get(NUMPY).worker.alive
    assert len(workers.started) == 2


def test_a_plugin_that_went_wrong_in_a_worker_is_named(workers):
    said = []
    reply = LoadReply(import_s=1.0, described={}, versions={}, kinds=(), left_out={"bad": "cnnbench_operations: boom"})
    workers.rule(LoadRequest, Answer(reply=reply))
    with Pool(30.0, Stopwatch(), workers, said.append) as pool:
        pool.get(NUMPY)
    assert said == ["plugin 'bad' is broken and left out of numpy's workers: cnnbench_operations: boom"]


LACKING = UnavailableError("no such device")


@pytest.mark.parametrize(
    "answer", [Answer(error=RequestFailedError("no library")), Answer(error=LACKING), Answer(hangs=True)]
)
def test_a_backend_that_does_not_load_is_not_tried_again_and_its_log_is_kept(pool, workers, answer):
    workers.rule(LoadRequest, answer)
    with pytest.raises(CnnbenchError) as first:
        pool.get(NUMPY)
    with pytest.raises(CnnbenchError) as second:
        pool.get(NUMPY)
    assert first.value is second.value
    assert len(workers.started) == 1
    assert not workers.started[0].alive
    assert pool.peek(NUMPY) is workers.started[0]


def test_a_worker_that_was_interrupted_while_it_loaded_is_not_taken_for_a_loaded_one(pool, workers):
    workers.rule(LoadRequest, Answer(error=ZeroDivisionError("a defect")), times=1)
    with pytest.raises(ZeroDivisionError):
        pool.get(NUMPY)
    assert not workers.started[0].alive
    assert pool.get(NUMPY).worker is workers.started[1]


def test_an_interpreter_that_does_not_start_is_no_worker(pool, workers):
    workers.refuse("numpy", WorkerCrashError("the interpreter does not start"))
    with pytest.raises(WorkerCrashError):
        pool.get(NUMPY)
    assert pool.peek(NUMPY) is None


def test_those_that_have_nothing_to_do_are_told_apart_and_ended(pool, workers):
    busy, idle = pool.get(NUMPY).worker, pool.get(OTHER).worker
    assert pool.others({NUMPY}) == [idle]
    pool.keep({NUMPY})
    assert busy.alive
    assert not idle.alive
    assert pool.others({NUMPY}) == []


def test_at_the_end_every_worker_is_gone_however_it_comes(workers):
    for error in (None, ZeroDivisionError):
        pool = Pool(30.0, Stopwatch(), workers)
        with nullcontext() if error is None else pytest.raises(ZeroDivisionError), pool:
            pool.get(NUMPY)
            if error:
                raise error
    assert not any(worker.alive for worker in workers.started)


def test_a_part_says_where_it_comes_from(pool):
    cell = synthetic_run(seed=1).records[0].cell
    origin = pool.get(NUMPY).origin(cell)
    assert origin.settings["requested"] == {"threads": cell.threads, "device": cell.device, "layout": cell.layout}
    assert origin.settings["reported"] == {"name": "numpy"}
    assert origin.settings["python"] == "3.11.0"
    assert origin.settings["variables"]["OMP_NUM_THREADS"] == "1"


def test_a_worker_of_a_pool_has_a_backend(pool):
    with pytest.raises(ValueError, match="needs a backend"):
        pool.get(WorkerSpec(None))


def test_the_fake_hangs_until_its_time_limit_and_is_gone(pool, workers):
    worker, before = pool.get(NUMPY).worker, workers.clock.seconds
    workers.rule(TurnRequest, Answer(takes_s=100.0), times=1)
    with pytest.raises(WorkerHungError):
        worker.ask(TurnRequest(cell="c", samples=2), timeout_s=20.0)
    assert workers.clock.seconds == before + 20.0
    with pytest.raises(WorkerCrashError, match="gone"):
        worker.ask(SampleRequest(cell="c"), timeout_s=20.0)


def test_the_fake_takes_the_time_of_its_calls(pool, workers):
    worker, before = pool.get(NUMPY).worker, workers.clock.seconds
    turn = worker.ask(TurnRequest(cell="c", samples=3), timeout_s=20.0).turn
    assert turn.samples_s == (0.01, 0.01, 0.01)
    assert workers.clock.seconds == pytest.approx(before + 0.03)


def test_the_fake_has_all_that_a_worker_has(pool):
    worker = pool.get(NUMPY).worker
    assert isinstance(worker, FakeWorker)
    members = [name for name in dir(Worker) if not name.startswith("_")]
    assert "ask" in members
    assert all(hasattr(worker, name) for name in members)
