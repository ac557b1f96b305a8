"""Runs with real worker processes: each way to fail, a killed worker, a cancelled job, checks, memory and training."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from small_suite import small_suite

from cnnbench.harness.passes.events import RoundFinished
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.plan import plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
LATENCY = {"launches": 2, "rounds": 3, "samples": 3, "max_round_s": 20, "controls": False, "warmup": {"max_s": 0.2}}


@pytest.fixture
def go(faulty, tmp_path):
    """Runs modes of the faulty backend; gives the result and the store."""

    def start(*modes, options=None, listeners=(), latency=LATENCY, **changes):
        measure = {"latency": latency, "memory": latency is None, "yardsticks": False}
        matrix = {"backends": [{"name": "faulty", "mode": list(modes)}]}
        asked = {"matrix": matrix, "measure": measure, "timeouts": {"compile_s": 8.0, "call_s": 60.0}} | changes
        result = run(plan(small_suite("faults", **asked)), options or RunOptions(root=tmp_path), listeners)
        return result, RunStore.open(result.folder)

    return start


def statuses(result):
    return {record.cell.mode: record.status for record in result.records}


def test_every_way_to_fail_ends_its_own_cell_with_its_status_and_its_reason(go):
    modes = ("good", "crash", "hang", "print", "nan", "shape", "dtype", "hog", "raise", "lazy", "lacks")
    result, store = go(*modes)
    reasons = {record.cell.mode: record.reason for record in result.records}
    assert statuses(result) == {
        "good": "ok", "crash": "crashed", "hang": "hung", "print": "ok", "nan": "nan", "shape": "wrong_shape",
        "dtype": "wrong_dtype", "hog": "out_of_memory", "raise": "error", "lazy": "error", "lacks": "skipped",
    }, reasons  # fmt: skip
    assert result.exit_code == 3
    by_mode = {record.cell.mode: record for record in result.records}
    for mode, reason in {
        "crash": "SIGABRT", "hang": "no answer to 'prepare'", "raise": "no such kernel", "lazy": "does not wait",
        "shape": "expected [1, 10]", "dtype": "float16", "lacks": "install another build",
    }.items():  # fmt: skip
        assert reason in by_mode[mode].reason
    for mode in ("crash", "hang", "raise"):
        assert f"_{mode}" in (store.cell_folder(by_mode[mode].cell.id) / "stderr.log").read_text()
    for mode in ("good", "print"):
        record = by_mode[mode]
        assert (record.latency.samples, record.latency.launches) == (2 * 3 * 3, 2)
        assert len(store.read_samples(record.cell.id)) == 18
        assert record.settings["variables"]["OMP_WAIT_POLICY"] == "PASSIVE"
        assert record.versions["numpy"]
    summary = store.read_summary()
    assert summary.categories["crashed"] == (by_mode["crash"].cell.id,)
    assert summary.seconds["total"] >= summary.seconds["import"] > 0


def test_wrong_outputs_alone_exit_with_4(go):
    assert go("good", "nan", latency=None)[0].exit_code == 4


def test_a_backend_that_cannot_be_imported_ends_its_cells_only(go):
    backends = [{"name": "unimportable", "mode": ["good", "slow"]}, {"name": "faulty", "mode": ["good"]}]
    result, store = go(matrix={"backends": backends}, latency=None)
    assert [record.status for record in result.records] == ["error", "error", "ok"]
    for record in result.records[:2]:
        assert "libmissing.so" in record.reason
    log = (store.cell_folder(result.records[0].cell.id) / "stderr.log").read_text()
    assert "ImportError: libmissing.so" in log


def test_a_worker_killed_in_the_middle_ends_its_cell_and_resume_completes_it(go):
    result, _ = go("slow", "die_once")
    assert statuses(result) == {"slow": "ok", "die_once": "crashed"}
    assert "SIGKILL" in result.records[1].reason
    again, store = go("slow", "die_once", options=RunOptions(resume=result.folder))
    assert statuses(again) == {"slow": "ok", "die_once": "ok"}
    assert len(store.read_samples(again.records[1].cell.id)) == 18


def test_a_job_that_is_cancelled_ends_as_an_interrupted_run_and_leaves_nothing_running(go):
    before = signal.getsignal(signal.SIGTERM)
    pids = []

    def cancel(event):
        if isinstance(event, RoundFinished):
            pids.extend(int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
            os.kill(os.getpid(), signal.SIGTERM)

    assert go("good", listeners=[cancel])[0].exit_code == 130
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert signal.getsignal(signal.SIGTERM) == before


def test_checks_come_first_and_a_program_with_wrong_numbers_is_not_timed(go):
    result, store = go("good", "wrong", checks=("end_to_end", "local"))
    good, wrong = result.records
    assert (good.status, wrong.status) == ("ok", "mismatch")
    assert good.check("end_to_end").status == "passed"
    assert wrong.latency is None
    assert store.read_samples(wrong.cell.id) == []
    assert "check" in wrong.reason
    assert {item.node for item in store.read_numerics(good.cell.id)}
    assert result.exit_code == 4


def test_wrong_numbers_are_timed_where_that_is_asked_for_and_stay_wrong(go, tmp_path):
    options = RunOptions(root=tmp_path, time_wrong_numbers=True)
    result, _ = go("wrong", options=options, checks=("end_to_end",))
    assert result.records[0].status == "mismatch"
    assert result.records[0].latency.samples == 18


def test_memory_is_measured_and_training_runs_in_workers(go):
    train = {"architectures": ["simple_cnn"], "epochs": 1, "batch": 256, "envelope_runs": 1}
    result, _ = go("good", "wrong", latency=None, train=train, timeouts={"compile_s": 20.0})
    for record in result.records:
        memory, training = record.memory, record.training
        assert memory.total_peak_bytes == memory.null_bytes + memory.peak_bytes
        assert 0 <= memory.peak_bytes < 64 * 2**20 < 4 * memory.null_bytes
        assert record.latency is None
        assert len(training.losses) == training.epochs[-1].step
        hits = sum(a == b for a, b in zip(training.predictions, training.targets, strict=True))
        assert hits / len(training.targets) == pytest.approx(training.test_accuracy)
        assert training.envelope.agrees
        assert training.envelope.centre == "float64"


def test_a_training_that_cannot_be_right_ends_its_cell_beside_a_right_one(go):
    """Evaluation with the weights of the first epoch, and losses of zero; NumPy trains in none of the cells."""
    train = {"architectures": ["simple_cnn"], "epochs": 2, "batch": 250, "train_images": 500, "envelope_runs": 1}
    measure = {"latency": None, "memory": False, "yardsticks": False}
    result, _ = go("good", "stale", "zero_loss", checks=(), train=train, measure=measure, timeouts={"compile_s": 20.0})
    assert statuses(result) == {"good": "ok", "stale": "mismatch", "zero_loss": "mismatch"}
    good, stale, zero = result.records
    assert good.training.envelope.reference == "numpy"
    assert good.training.envelope.agrees
    assert good.training.evaluation.differing == ()
    assert good.training.evaluation.images > 250  # the last part of a batch among them
    assert "test images get another class than NumPy gives" in stale.reason
    assert "parts from NumPy's at step 1: 0, expected 2" in zero.reason
    assert result.exit_code == 4


def test_yardsticks_are_in_the_summary(go):
    measure = {"latency": {"launches": 1, "rounds": 1, "samples": 1}, "memory": False, "yardsticks": True}
    summary = go("good", measure=measure)[0].summary
    assert summary.yardsticks["matrix_product_gflop_per_s"] > 0
    assert summary.yardsticks["copy_gb_per_s"] > 0
