"""A worker and its pipe: every way to die has its name, prints never mix with replies, nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cnnbench.errors import DataError, WorkerError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.worker_subject import WorkerSubject
from cnnbench.harness.worker import client as link
from cnnbench.harness.worker.arrays import options_to_json, read_arrays, write_arrays
from cnnbench.harness.worker.client import Worker
from cnnbench.harness.worker.errors import OutOfMemoryError, RequestFailedError, WorkerCrashError, WorkerHungError
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.registry import build
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def network():
    graph = build("simple_cnn", image=(3, 8, 8), num_classes=4)
    arrays = initialize(graph, 0)
    batch = {graph.inputs[0].name: np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)}
    return graph, arrays, batch


def options(mode="good", name="float32"):
    return ProgramOptions(mode=mode, precision=precision(name))


@pytest.fixture
def worker(faulty):
    with Worker(WorkerSpec("faulty")) as started:
        started.request("load", timeout_s=TIMEOUT_S, backend="faulty", threads=1, device="cpu")
        yield started


def prepare(worker, network, mode, **timeout):
    graph, arrays, batch = network
    write_arrays(worker.folder / "arrays", arrays)
    write_arrays(worker.folder / "batch", batch)
    return worker.request(
        "prepare",
        timeout_s=timeout.get("timeout_s", TIMEOUT_S),
        cell="cell",
        graph=graph.to_json(),
        options=options_to_json(options(mode)),
        arrays=str(worker.folder / "arrays"),
        batch=str(worker.folder / "batch"),
        sampling={"samples": 3, "max_round_s": 0.2},
        output=str(worker.folder / "output"),
    )


def test_a_cell_is_prepared_warmed_up_checked_sampled_and_released(worker, network):
    phases = prepare(worker, network, "slow")["phases"]
    assert phases["compile_s"] is None  # this backend compiles nothing apart
    assert phases["first_call_s"] >= 0.01
    warm = worker.request("warm_up", timeout_s=TIMEOUT_S, cell="cell")
    assert warm["call_s"] >= 0.01
    assert warm["calls_per_sample"] == 1
    check = worker.request("check_synchronization", timeout_s=TIMEOUT_S, cell="cell", call_s=warm["call_s"])
    assert check["passed"], check
    sampled = worker.request("sample", timeout_s=TIMEOUT_S, cell="cell")
    assert len(sampled["samples_s"]) == 3
    assert min(sampled["samples_s"]) >= 0.01
    assert sampled["observed"]["wall_s"] >= 0.03
    worker.request("release", timeout_s=TIMEOUT_S, cell="cell")
    with pytest.raises(RequestFailedError, match="KeyError"):
        worker.request("sample", timeout_s=TIMEOUT_S, cell="cell")


def test_memory_is_told_beside_a_network_of_one_relu(worker, network):
    null = worker.request("null_memory", timeout_s=TIMEOUT_S, precision="float32", mode="good")
    prepare(worker, network, "good")
    peak = worker.request("peak_memory", timeout_s=TIMEOUT_S, cell="cell", calls=2)
    assert 10 * 2**20 < null["null_bytes"] < 2**30
    assert null["null_bytes"] * 0.8 < peak["peak_bytes"] < null["null_bytes"] + 64 * 2**20


def test_a_subject_over_the_pipe_answers_as_one_in_process(worker, network):
    from cnnbench_numpy.backend import NumpyBackend

    from cnnbench.numerics.subject import InProcessSubject, Updates

    graph, arrays, batch = network
    there, here = WorkerSubject(worker, TIMEOUT_S), InProcessSubject(NumpyBackend())
    reference = options("reference", "float64")
    mine = options("good", "float64")
    far, near = there.forward(graph, arrays, batch, mine), here.forward(graph, arrays, batch, reference)
    assert far.outputs.keys() == near.outputs.keys()
    for name, array in near.outputs.items():
        assert far.outputs[name].dtype == np.float64
        np.testing.assert_allclose(far.outputs[name], array, rtol=1e-12)
    targets = {**batch, "targets": np.array([1, 3])}
    loss = CrossEntropy(label_smoothing=0.1)
    far_g = there.gradient(graph, arrays, targets, mine, loss)
    near_g = here.gradient(graph, arrays, targets, reference, loss)
    assert far_g.loss == pytest.approx(near_g.loss, rel=1e-12)
    assert far_g.weights.keys() == near_g.weights.keys()
    for name, array in {**near_g.weights, **near_g.inputs}.items():
        np.testing.assert_allclose({**far_g.weights, **far_g.inputs}[name], array, rtol=1e-9, atol=1e-12)
    updates = Updates(loss, SGD(momentum=0.5, weight_decay=0.01), [0.1, 0.05])
    far_l, far_s = there.steps(graph, arrays, [targets, targets], mine, updates)
    near_l, near_s = here.steps(graph, arrays, [targets, targets], reference, updates)
    assert far_l == pytest.approx(near_l, rel=1e-12)
    for ours, theirs in zip(far_s, near_s, strict=True):
        for part in ("weights", "state", "slots"):
            assert getattr(ours, part).keys() == getattr(theirs, part).keys()
            for name, array in getattr(theirs, part).items():
                np.testing.assert_allclose(getattr(ours, part)[name], array, rtol=1e-9, atol=1e-12)
    assert list(worker.folder.iterdir()) == []


def test_what_a_backend_prints_goes_to_the_log_and_is_capped(worker, network):
    mark = worker.log.mark()
    assert prepare(worker, network, "print")["phases"]["build_s"] >= 0
    text = worker.log.text(mark)
    assert "bytes left out" in text.splitlines()[0]
    assert len(text) <= 257 * 1024
    assert worker.request("sample", timeout_s=TIMEOUT_S, cell="cell")["samples_s"]


def test_an_abort_is_a_crash_with_its_signal_and_its_stack_in_the_log(worker, network):
    with pytest.raises(WorkerCrashError, match=r"prepare.*signal 6 \(SIGABRT\)"):
        prepare(worker, network, "crash")
    assert not worker.alive
    assert "_crash" in worker.log.text()
    with pytest.raises(WorkerCrashError, match="gone"):
        worker.request("sample", timeout_s=1, cell="cell")


def test_a_hang_is_killed_at_its_timeout_and_leaves_its_stack(worker, network):
    start = time.monotonic()
    with pytest.raises(WorkerHungError, match="no answer to 'prepare'"):
        prepare(worker, network, "hang", timeout_s=1.5)
    assert time.monotonic() - start < 10
    assert "_hang" in worker.log.text()
    assert not Path(f"/proc/{worker.pid}").exists()


def test_memory_that_is_not_there_is_out_of_memory_and_the_worker_lives_on(worker, network):
    with pytest.raises(OutOfMemoryError, match="MemoryError"):
        prepare(worker, network, "hog")
    assert worker.alive


def test_an_exception_is_an_error_and_the_worker_lives_on(worker, network):
    with pytest.raises(RequestFailedError, match="ValueError during 'prepare': no such kernel"):
        prepare(worker, network, "raise")
    assert "Traceback" in worker.log.text()
    assert prepare(worker, network, "good")["phases"]


def test_a_backend_that_cannot_be_imported_says_why(faulty):
    with Worker(WorkerSpec("unimportable")) as worker, pytest.raises(RequestFailedError, match="libmissing"):
        worker.request("load", timeout_s=TIMEOUT_S, backend="unimportable", threads=None, device="cpu")


def test_a_kill_from_outside_is_a_crash_and_no_lack_of_memory(worker, network):
    prepare(worker, network, "good")
    killer = threading.Timer(0.3, os.kill, (worker.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(WorkerCrashError, match=r"signal 9 \(SIGKILL\)"):
        for _ in range(1000):
            worker.request("sample", timeout_s=TIMEOUT_S, cell="cell")
    killer.join()


def test_an_unknown_request_and_a_private_one_are_refused(worker):
    for name in ("nonsense", "_run_null", "__init__"):
        with pytest.raises(RequestFailedError, match="unknown request"):
            worker.request(name, timeout_s=TIMEOUT_S)


def test_a_worker_of_another_protocol_is_refused_by_name(monkeypatch):
    spoken = link.PROTOCOL
    monkeypatch.setattr(link, "PROTOCOL", spoken + 1)
    with pytest.raises(WorkerError, match="another protocol") as error:
        Worker(WorkerSpec(None))
    assert f"protocol {spoken} of cnnbench" in str(error.value)
    assert "install the same cnnbench" in str(error.value)


def test_an_interpreter_that_is_not_there_or_lacks_cnnbench_is_a_worker_error(tmp_path):
    with pytest.raises(WorkerError, match="does not start"):
        Worker(WorkerSpec(None, python=str(tmp_path / "python")))
    bare = tmp_path / "bare"
    bare.write_text("#!/bin/sh\necho 'No module named cnnbench' >&2\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(WorkerCrashError, match="exit code 1"):
        Worker(WorkerSpec(None, python=str(bare)))


def test_a_worker_ends_when_its_parent_is_killed():
    code = (
        "import time; from cnnbench.harness.worker.client import Worker\n"
        "from cnnbench.harness.worker.specification import WorkerSpec\n"
        "worker = Worker(WorkerSpec(None)); print(worker.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while _running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _running(pid)


def _running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_threads_and_processors_are_set_before_anything_is_imported():
    spec = WorkerSpec("numpy", threads=1)
    assert len(spec.processors) == 1
    variables = spec.variables()
    assert variables["OMP_NUM_THREADS"] == variables["TF_NUM_INTRAOP_THREADS"] == variables["NPROC"] == "1"
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"
    with Worker(spec) as worker:
        status = Path(f"/proc/{worker.pid}/status").read_text()
        allowed = next(line for line in status.splitlines() if line.startswith("Cpus_allowed_list"))
        assert allowed.split()[1] == str(spec.processors[0])
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert b"MALLOC_MMAP_THRESHOLD_=1073741824" in environment


def test_the_parent_and_an_idle_worker_use_no_processor_while_they_wait(worker, network):
    from cnnbench.measurement.observation import processor_seconds

    prepare(worker, network, "good")
    before, own = processor_seconds(worker.pid), time.process_time()
    time.sleep(0.5)
    assert processor_seconds(worker.pid) - before <= 0.02
    assert time.process_time() - own < 0.1


def test_closing_leaves_no_process_and_no_files():
    worker = Worker(WorkerSpec(None))
    (worker.folder / "left").write_text("x")
    worker.close()
    assert not worker.folder.exists()
    assert not Path(f"/proc/{worker.pid}").exists()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"])
def test_arrays_travel_unchanged_and_other_programs_can_read_them(tmp_path, dtype):
    from safetensors.numpy import load_file, save_file

    generator = np.random.default_rng(0)
    arrays = {
        "odd": generator.normal(size=(3, 5)) > 0,
        "a": (generator.normal(size=(2, 3, 4)) * 10).astype(dtype),
        "transposed": np.asfortranarray(generator.normal(size=(4, 3))),
        "scalar": np.array(1.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    write_arrays(tmp_path / "x", arrays)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, tmp_path / "y")
    for read in (read_arrays(tmp_path / "x"), load_file(tmp_path / "x"), read_arrays(tmp_path / "y")):
        assert read.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array, strict=name != "scalar")


def test_a_file_of_arrays_that_is_cut_short_is_refused(tmp_path):
    write_arrays(tmp_path / "x", {"a": np.ones(100)})
    data = (tmp_path / "x").read_bytes()
    for length in (0, 4, 40, len(data) - 8):
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises(DataError, match="cannot be read"):
            read_arrays(tmp_path / "cut")
    with pytest.raises(DataError, match="bfloat"):
        import ml_dtypes

        write_arrays(tmp_path / "z", {"a": np.ones(2, ml_dtypes.bfloat16)})
