"""A run from plan to summary: what goes wrong ends one cell, what was measured is kept, an interrupted run goes on."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from cnnbench.errors import SuiteError, WorkerError
from cnnbench.harness.passes.events import CellDone, EpochDone, Note, RoundDone, RunBegan, RunEnded, WorkDone
from cnnbench.harness.passes.findings import LaunchPart
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def suite(tmp_path, modes, **changes):
    fields = {
        "schema_version": 1,
        "name": "faults",
        "matrix": {
            "architectures": ["simple_cnn"],
            "image": [[1, 8, 8]],
            "num_classes": 10,
            "backends": [{"name": "faulty", "mode": list(modes)}],
        },
        "checks": {"names": []},
        "measure": {
            "latency": {"launches": 2, "rounds": 3, "samples": 3, "max_round_s": 0.2, "warmup": {"max_s": 1.0}},
            "memory": False,
            "yardsticks": False,
        },
        "timeouts": {"compile_s": 2.0, "call_s": 20.0},
    }
    return Suite.model_validate(fields | changes)


def statuses(records):
    return {record.cell.mode: record.status for record in records}


@pytest.fixture
def go(faulty, tmp_path):
    """Runs modes of the faulty backend; gives the result, the store and the events."""

    def start(modes, options=None, **changes):
        events = []
        result = run(plan(suite(tmp_path, modes, **changes)), options or RunOptions(root=tmp_path), [events.append])
        return result, RunStore.open(result.folder), events

    return start


def test_every_way_to_fail_ends_its_own_cell_with_its_status_and_its_reason(go):
    modes = ("good", "crash", "hang", "print", "nan", "shape", "dtype", "hog", "raise", "lazy")
    result, store, _ = go(modes)
    assert statuses(result.records) == {
        "good": "ok", "crash": "crashed", "hang": "hung", "print": "ok", "nan": "nan", "shape": "wrong_shape",
        "dtype": "wrong_dtype", "hog": "out_of_memory", "raise": "error", "lazy": "error",
    }  # fmt: skip
    assert result.exit_code == 3
    by_mode = {record.cell.mode: record for record in result.records}
    assert "SIGABRT" in by_mode["crash"].reason
    assert "no answer to 'prepare'" in by_mode["hang"].reason
    assert "no such kernel" in by_mode["raise"].reason
    assert "does not wait" in by_mode["lazy"].reason
    assert "expected [1, 10]" in by_mode["shape"].reason
    assert "float16" in by_mode["dtype"].reason
    for mode in ("crash", "hang", "raise"):
        assert f"_{mode}" in (store.cell_folder(by_mode[mode].cell.id) / "stderr.log").read_text()
    for mode in ("good", "print"):
        record = by_mode[mode]
        assert record.latency.samples == 2 * 3 * 3
        assert record.latency.launches == 2
        assert len(store.read_samples(record.cell.id)) == 18
        assert record.settings["variables"]["OMP_WAIT_POLICY"] == "PASSIVE"
        assert record.versions["numpy"]
        assert record.digests.graph
    summary = store.read_summary()
    assert summary.categories["crashed"] == (by_mode["crash"].cell.id,)
    assert summary.seconds["total"] >= summary.seconds["import"] > 0


def test_wrong_numbers_alone_exit_with_4_and_a_good_run_with_0(go):
    assert go(("good", "nan"))[0].exit_code == 4
    assert go(("good",))[0].exit_code == 0


def test_a_backend_that_cannot_be_imported_ends_its_cells_only(go):
    matrix = {
        "architectures": ["simple_cnn"], "image": [[1, 8, 8]], "num_classes": 10,
        "backends": [{"name": "unimportable", "mode": ["good", "slow"]}, {"name": "faulty", "mode": ["good"]}],
    }  # fmt: skip
    result, store, _ = go((), matrix=matrix)
    assert [record.status for record in result.records] == ["error", "error", "ok"]
    for record in result.records[:2]:
        assert "libmissing.so" in record.reason
    log = (store.cell_folder(result.records[0].cell.id) / "stderr.log").read_text()
    assert "ImportError: libmissing.so" in log


def test_a_worker_killed_in_the_middle_ends_its_cell_and_resume_completes_it_without_measuring_again(go):
    result, store, _ = go(("slow", "die_once"))
    assert statuses(result.records) == {"slow": "ok", "die_once": "crashed"}
    assert result.exit_code == 3
    assert "SIGKILL" in result.records[1].reason
    kept = (store.cell_folder(result.records[0].cell.id) / "record.json").read_bytes()
    again, store, events = go(("slow", "die_once"), RunOptions(resume=result.folder))
    assert again.folder == result.folder
    assert statuses(again.records) == {"slow": "ok", "die_once": "ok"}
    assert again.exit_code == 0
    assert again.records[1].latency.samples == 18
    assert "apart from its group" in again.records[1].latency.note
    assert (store.cell_folder(result.records[0].cell.id) / "record.json").read_bytes() == kept
    assert [event.resumed for event in events if isinstance(event, CellDone)] == [True, False]


def test_an_interruption_keeps_what_was_measured_and_resume_goes_on_from_there(faulty, tmp_path):
    planned = plan(suite(tmp_path, ("good", "slow")))

    def interrupt(event):
        if isinstance(event, RoundDone) and (event.launch, event.round) == (1, 1):
            raise KeyboardInterrupt

    result = run(planned, RunOptions(root=tmp_path), [interrupt])
    assert result.exit_code == 130
    assert statuses(result.records) == {"good": "interrupted", "slow": "interrupted"}
    assert result.summary.interrupted
    store = RunStore.open(result.folder)
    first = {cell.id: store.read_part(cell.id, "launch-0", LaunchPart) for cell in planned.cells}
    assert all(first.values())
    again = run(planned, RunOptions(resume=result.folder))
    assert again.exit_code == 0
    assert again.summary.started_utc == result.summary.started_utc
    assert again.summary.seconds["import"] > result.summary.seconds["import"] > 0
    assert again.summary.seconds["total"] > result.summary.seconds["total"]
    for cell in planned.cells:
        kept = [sample for sample in store.read_samples(cell.id) if sample.launch == 0]
        assert tuple(kept) == first[cell.id].samples
        assert len(store.read_samples(cell.id)) == 18
        assert "apart" not in (store.read_record(cell.id).latency.note or "")


def test_a_job_that_is_cancelled_ends_as_an_interrupted_run_and_leaves_nothing_running(faulty, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    pids = []

    def cancel(event):
        if isinstance(event, RoundDone):
            pids.extend(int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
            os.kill(os.getpid(), signal.SIGTERM)

    result = run(plan(suite(tmp_path, ("good",))), RunOptions(root=tmp_path), [cancel])
    assert result.exit_code == 130
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_cannot_be_resumed_with_another_plan(go, tmp_path):
    result, _, _ = go(("good",))
    with pytest.raises(SuiteError, match="another plan"):
        run(plan(suite(tmp_path, ("good", "slow"))), RunOptions(resume=result.folder))


def test_records_are_on_disk_before_anyone_hears_of_them(faulty, tmp_path):
    seen = []

    class Recorder:
        def started(self, run):
            seen.append(("started", (run.folder / "plan.json").exists(), run.environment["python"]))

        def recorded(self, record, folder):
            seen.append(("recorded", json.loads((folder / "record.json").read_text())["status"]))

        def finished(self, run):
            seen.append(("finished", (run.folder / "summary.json").exists(), len(run.records)))
            return {"somewhere": "http://127.0.0.1/x"}

    class Broken(Recorder):
        def recorded(self, record, folder):
            raise ConnectionError("server is down")

        def finished(self, run):
            raise ConnectionError("still down")

    class Refusing(Broken):
        def started(self, run):
            raise ConnectionError("no server")

    events = []
    options = RunOptions(root=tmp_path, recorders={"good": Recorder(), "broken": Broken(), "refusing": Refusing()})
    result = run(plan(suite(tmp_path, ("good",))), options, [events.append])
    assert result.exit_code == 0
    assert [item[0] for item in seen] == ["started", "started", "recorded", "finished"]
    assert ("recorded", "ok") in seen
    assert result.summary.links == {"somewhere": "http://127.0.0.1/x"}
    assert RunStore.open(result.folder).read_summary() == result.summary
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "recorder 'broken' failed and is left out: ConnectionError: server is down" in notes
    assert sum("refusing" in note for note in notes) == 1


def test_events_tell_rounds_work_and_the_end(go):
    result, _, events = go(("good", "slow"))
    began = next(event for event in events if isinstance(event, RunBegan))
    assert sum(event.units for event in events if isinstance(event, WorkDone)) == began.work == 4
    rounds = [event for event in events if isinstance(event, RoundDone)]
    assert [(event.launch, event.round) for event in rounds] == [(i, j) for i in (0, 1) for j in (0, 1, 2)]
    slow = [dict(event.medians_s) for event in rounds]
    assert all(min(medians.values()) < 0.01 <= max(medians.values()) for medians in slow)
    assert events[-1] == RunEnded(result.folder, 0)


def test_checks_come_first_and_a_program_with_wrong_numbers_is_not_timed(go):
    result, store, _ = go(("good", "wrong"), checks={"names": ["end_to_end", "local"]})
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
    result, _, _ = go(("wrong",), options, checks={"names": ["end_to_end"]})
    assert result.records[0].status == "mismatch"
    assert result.records[0].latency.samples == 18


def test_memory_is_measured_in_a_worker_of_its_own(go):
    result, _, _ = go(("good",), measure={"latency": None, "memory": True, "yardsticks": False})
    memory = result.records[0].memory
    assert memory.total_peak_bytes == memory.null_bytes + memory.peak_bytes
    assert 0 <= memory.peak_bytes < 64 * 2**20 < 4 * memory.null_bytes
    assert result.records[0].latency is None
    assert result.records[0].phases.build_s >= 0


def test_training_goes_through_the_worker_and_tells_its_epochs(go):
    train = {
        "architectures": ["simple_cnn"], "epochs": 2, "batch": 256, "learning_rate": 0.05,
        "optimizer": {"kind": "sgd", "momentum": 0.9},
    }  # fmt: skip
    result, _, events = go(("good",), measure={"latency": None, "memory": False}, train=train)
    training = result.records[0].training
    assert [epoch.epoch for epoch in training.epochs] == [1, 2]
    assert len(training.losses) == training.epochs[-1].step
    assert training.test_accuracy == training.epochs[-1].test_accuracy
    hits = sum(a == b for a, b in zip(training.predictions, training.targets, strict=True))
    assert hits / len(training.targets) == pytest.approx(training.test_accuracy)
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == list(training.epochs)


def test_curves_of_cells_that_train_alike_are_held_to_reference_runs(go):
    train = {"architectures": ["simple_cnn"], "epochs": 1, "batch": 256, "envelope_runs": 2}
    result, _, _ = go(("good", "wrong"), measure={"latency": None, "memory": False}, train=train)
    for record in result.records:
        facts = record.training.envelope
        assert facts["reference_runs"] == 3
        assert len(facts["spread"]) == len(record.training.losses)
        assert facts["agrees"]
        assert facts["centre"] == "float64"
    assert len({record.training.envelope["reference"] for record in result.records}) == 1


def test_curves_are_held_to_the_mean_of_the_runs_where_the_one_in_float64_fails(go, monkeypatch):
    def failing(*args):
        raise WorkerError("no memory for float64")

    monkeypatch.setattr("cnnbench.harness.passes.training._exact_run", failing)
    train = {"architectures": ["simple_cnn"], "epochs": 1, "batch": 256, "envelope_runs": 1}
    result, _, _ = go(("good", "wrong"), measure={"latency": None, "memory": False}, train=train)
    assert {record.status for record in result.records} == {"ok"}
    assert {record.training.envelope["centre"] for record in result.records} == {"mean"}
    assert any("not with float64: no memory for float64" in note for note in result.summary.notes)


def test_yardsticks_are_in_the_summary(go):
    measure = {"latency": {"launches": 1, "rounds": 1, "samples": 1}, "memory": False, "yardsticks": True}
    summary = go(("good",), measure=measure)[0].summary
    assert summary.yardsticks["matrix_product_gflop_per_s"] > 0
    assert summary.yardsticks["copy_gb_per_s"] > 0


def test_of_two_moments_of_a_launch_the_better_counts(go, monkeypatch):
    from cnnbench.harness.passes import timing

    moments = iter([{"speed": 60.0}, {"speed": 198.0}, {}, {"speed": 190.0}, {"speed": 180.0}, {"speed": 90.0}])
    monkeypatch.setattr(timing, "machine", lambda session: next(moments))
    measure = {"latency": {"launches": 3, "rounds": 1, "samples": 1}, "memory": False, "yardsticks": True}
    assert go(("good",), measure=measure)[0].summary.yardsticks == {"speed": 190.0}
    assert next(moments, None) is None


def test_rounds_are_in_random_order_and_the_same_for_the_same_seed(faulty, tmp_path, monkeypatch):
    orders = []
    from cnnbench.harness.passes import rounds

    sampled = rounds._sample

    def spy(session, pool, timed, launch, number):
        if not timed.is_control:
            orders[-1].append((launch, number, timed.cell.mode))
        return sampled(session, pool, timed, launch, number)

    monkeypatch.setattr(rounds, "_sample", spy)
    measure = {"latency": {"launches": 1, "rounds": 8, "samples": 1}, "memory": False, "yardsticks": False}
    for seed in (0, 0, 1):
        orders.append([])
        run(plan(suite(tmp_path, ("good", "slow", "wrong"), measure=measure, seed=seed)), RunOptions(root=tmp_path))
    assert orders[0] == orders[1] != orders[2]
    by_round = {tuple(mode for _, number, mode in orders[0] if number == i) for i in range(8)}
    assert len(by_round) > 2
    assert all(sorted(order) == ["good", "slow", "wrong"] for order in by_round)


def test_skipped_cells_are_recorded_with_their_reason(go):
    result, _, _ = go(("good",), matrix={
        "architectures": ["simple_cnn"], "image": [[1, 8, 8]], "num_classes": 10,
        "backends": [{"name": "faulty", "mode": ["good"]}], "device": ["cpu", "cuda"],
    })  # fmt: skip
    assert sorted(record.status for record in result.records) == ["ok", "skipped"]
    skipped = next(record for record in result.records if record.status == "skipped")
    assert "cuda" in skipped.reason
    assert result.exit_code == 0


def test_what_only_the_loaded_framework_knows_to_be_missing_is_a_skip_too(go):
    result, _, _ = go(("good", "lacks"))
    assert statuses(result.records) == {"good": "ok", "lacks": "skipped"}
    reason = next(record.reason for record in result.records if record.status == "skipped")
    assert "this build has no kernel for the device" in reason
    assert "install another build" in reason
    assert result.exit_code == 0


def test_programs_are_started_in_another_order_in_each_launch(faulty, tmp_path, monkeypatch):
    from cnnbench.harness.passes import group_launch

    started = []
    real = group_launch.start

    def spy(session, pool, cell, launch, settings, spec):
        started.append((launch, cell.mode))
        return real(session, pool, cell, launch, settings, spec)

    monkeypatch.setattr(group_launch, "start", spy)
    latency = {"launches": 6, "rounds": 1, "samples": 1, "controls": False, "warmup": {"max_s": 0.05}}
    measure = {"latency": latency, "memory": False, "yardsticks": False}
    run(plan(suite(tmp_path, ("good", "slow", "wrong"), measure=measure)), RunOptions(root=tmp_path))
    orders = [tuple(mode for launch, mode in started if launch == number) for number in range(6)]
    assert all(sorted(order) == ["good", "slow", "wrong"] for order in orders)
    assert len(set(orders)) > 2


def test_a_defect_of_our_own_ends_one_cell_and_exits_with_70(go, monkeypatch):
    from cnnbench.harness.passes import rounds

    real = rounds._sample

    def broken(session, pool, timed, launch, number):
        if timed.cell.mode == "slow":
            raise ZeroDivisionError("oops")
        return real(session, pool, timed, launch, number)

    monkeypatch.setattr(rounds, "_sample", broken)
    result, store, _ = go(("good", "slow"))
    assert statuses(result.records) == {"good": "ok", "slow": "error"}
    assert result.exit_code == 70
    assert "oops" in store.read_summary().defects[0]
    assert "ZeroDivisionError" in (store.cell_folder(result.records[1].cell.id) / "stderr.log").read_text()


def test_the_folder_is_laid_out_as_published(go):
    result, _, _ = go(("good",))
    names = {path.relative_to(result.folder).as_posix() for path in result.folder.rglob("*") if path.is_file()}
    cell = f"cells/{result.records[0].cell.id}"
    wanted = {"suite.resolved.yaml", "plan.json", "environment.json", "summary.json"}
    assert wanted | {f"{cell}/record.json", f"{cell}/samples.jsonl"} <= names
    assert result.folder.parent == Path(result.folder.parent.parent, "faults")
