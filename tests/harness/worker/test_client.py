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

from cnnbench.errors import WorkerError
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.worker_subject import WorkerSubject
from cnnbench.harness.worker import client
from cnnbench.harness.worker.arrays import write_arrays
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.errors import OutOfMemoryError, RequestFailedError, WorkerCrashError, WorkerHungError
from cnnbench.harness.worker.protocol.memory import NullMemoryRequest, PeakMemoryRequest
from cnnbench.harness.worker.protocol.setup import PROTOCOL, LoadRequest
from cnnbench.harness.worker.protocol.timing import (
    PrepareRequest,
    ReleaseRequest,
    SampleRequest,
    SynchronizationRequest,
    WarmUpRequest,
)
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.sampling import SampleSettings
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
    with WorkerClient(WorkerSpec("faulty")) as started:
        started.ask(LoadRequest(backend="faulty", settings=ProcessSettings(threads=1)), timeout_s=TIMEOUT_S)
        yield started


def prepare(worker, network, mode, timeout_s=TIMEOUT_S):
    graph, arrays, batch = network
    write_arrays(worker.folder / "arrays", arrays)
    write_arrays(worker.folder / "batch", batch)
    request = PrepareRequest(
        cell="cell",
        graph=graph,
        options=options(mode),
        arrays=worker.folder / "arrays",
        batch=worker.folder / "batch",
        sampling=SampleSettings(samples=3, max_round_s=0.2),
        output=worker.folder / "output",
    )
    return worker.ask(request, timeout_s=timeout_s)


def sample(worker, timeout_s=TIMEOUT_S):
    return worker.ask(SampleRequest(cell="cell"), timeout_s=timeout_s)


def test_a_cell_is_prepared_warmed_up_checked_sampled_and_released(worker, network):
    phases = prepare(worker, network, "slow")
    assert phases.compile_s is None  # this backend compiles nothing apart
    assert phases.first_call_s >= 0.01
    warm = worker.ask(WarmUpRequest(cell="cell"), timeout_s=TIMEOUT_S).warm_up
    assert warm.call_s >= 0.01
    assert warm.calls_per_sample == 1
    check = worker.ask(SynchronizationRequest(cell="cell", call_s=warm.call_s), timeout_s=TIMEOUT_S).check
    assert check.passed, check
    sampled = sample(worker)
    assert len(sampled.samples_s) == 3
    assert min(sampled.samples_s) >= 0.01
    assert sampled.observed.wall_s >= 0.03
    worker.ask(ReleaseRequest(cell="cell"), timeout_s=TIMEOUT_S)
    with pytest.raises(RequestFailedError, match="no program is prepared for 'cell'"):
        sample(worker)


def test_memory_is_reported_beside_a_network_of_one_relu(worker, network):
    null = worker.ask(NullMemoryRequest(precision="float32", mode="good"), timeout_s=TIMEOUT_S)
    prepare(worker, network, "good")
    peak = worker.ask(PeakMemoryRequest(cell="cell", calls=2), timeout_s=TIMEOUT_S)
    assert 10 * 2**20 < null.null_bytes < 2**30
    assert null.null_bytes * 0.8 < peak.peak_bytes < null.null_bytes + 64 * 2**20


def test_a_program_that_the_worker_keeps_answers_as_one_in_process(worker, network):
    from cnnbench_numpy.backend import NumpyBackend

    from cnnbench.numerics.subject import InProcessSubject

    graph, arrays, batch = network
    other = {name: array[::-1] for name, array in batch.items()}
    sessions = [
        WorkerSubject(worker, TIMEOUT_S).open(graph, options("good")),
        InProcessSubject(NumpyBackend()).open(graph, options("reference")),
    ]
    found = []
    for session in sessions:
        session.load(arrays)
        session.upload("a", batch)
        first = session.run("a", 3)
        session.upload("b", other)
        rewritten = session.overwrite("a", "b")
        found.append((first.digests, first.deviation, rewritten, session.run("a").digests))
        assert first.repeats
        session.close()
    assert found[0] == found[1]
    with pytest.raises(RequestFailedError, match="no program is kept"):
        sessions[0].run("a")


def test_a_gradient_session_over_the_pipe_gives_what_one_in_process_gives(worker, network):
    from cnnbench_numpy.backend import NumpyBackend

    from cnnbench.numerics.session import as_gradients
    from cnnbench.numerics.subject import InProcessSubject

    graph, arrays, batch = network
    targets = {**batch, "targets": np.array([1, 3])}
    loss = CrossEntropy()
    sessions = [
        WorkerSubject(worker, TIMEOUT_S).open_gradient(graph, options("good"), loss),
        InProcessSubject(NumpyBackend()).open_gradient(graph, options("reference"), loss),
    ]
    found = []
    for session in sessions:
        session.load(arrays)
        session.upload("a", targets)
        found.append(session.run("a", 2))
        assert session.held() is None
        session.close()
    assert found[0].digests == found[1].digests
    assert found[0].repeats
    far, near = (as_gradients(calls.result) for calls in found)
    assert far.loss == near.loss
    assert far.weights.keys() == near.weights.keys() == {spec.name for spec in graph.named_weights() if spec.trainable}


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
    far_s = there.steps(graph, arrays, [targets, targets], mine, updates)
    near_s = here.steps(graph, arrays, [targets, targets], reference, updates)
    for (far_l, ours), (near_l, theirs) in zip(far_s, near_s, strict=True):
        assert far_l == pytest.approx(near_l, rel=1e-12)
        for part in ("weights", "state", "slots"):
            assert getattr(ours, part).keys() == getattr(theirs, part).keys()
            for name, array in getattr(theirs, part).items():
                np.testing.assert_allclose(getattr(ours, part)[name], array, rtol=1e-9, atol=1e-12)
    assert list(worker.folder.iterdir()) == []


def test_what_a_backend_prints_goes_to_the_log_and_is_capped(worker, network):
    mark = worker.log.mark()
    assert prepare(worker, network, "print").build_s >= 0
    text = worker.log.text(mark)
    assert "bytes left out" in text.splitlines()[0]
    assert len(text) <= 257 * 1024
    assert sample(worker).samples_s


def test_an_abort_is_a_crash_with_its_signal_and_its_stack_in_the_log(worker, network):
    with pytest.raises(WorkerCrashError, match=r"prepare.*signal 6 \(SIGABRT\)"):
        prepare(worker, network, "crash")
    assert not worker.alive
    assert "_crash" in worker.log.text()
    with pytest.raises(WorkerCrashError, match="gone"):
        sample(worker, timeout_s=1)


def test_a_hang_is_killed_at_its_timeout_and_leaves_its_stack(worker, network):
    with pytest.raises(WorkerHungError, match="no answer to 'prepare'"):
        prepare(worker, network, "hang", timeout_s=1.5)
    assert "_hang" in worker.log.text()
    assert not Path(f"/proc/{worker.pid}").exists()


def test_memory_that_is_not_there_is_out_of_memory_and_the_worker_lives_on(worker, network):
    with pytest.raises(OutOfMemoryError, match="MemoryError"):
        prepare(worker, network, "hog")
    assert worker.alive


def test_an_exception_is_an_error_and_the_worker_lives_on(worker, network):
    with pytest.raises(RequestFailedError, match="during 'prepare': ValueError: no such kernel, from the plugin"):
        prepare(worker, network, "raise")
    assert "Traceback" in worker.log.text()
    assert prepare(worker, network, "good").build_s >= 0


def test_a_backend_that_cannot_be_imported_says_why(faulty):
    with WorkerClient(WorkerSpec("unimportable")) as worker, pytest.raises(RequestFailedError, match="libmissing"):
        worker.ask(LoadRequest(backend="unimportable", settings=ProcessSettings()), timeout_s=TIMEOUT_S)


def test_a_kill_from_outside_is_a_crash_and_no_lack_of_memory(worker, network):
    prepare(worker, network, "good")
    killer = threading.Timer(0.3, os.kill, (worker.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(WorkerCrashError, match=r"signal 9 \(SIGKILL\)"):
        for _ in range(1000):
            sample(worker)
    killer.join()


def test_a_worker_of_another_protocol_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(client, "PROTOCOL", PROTOCOL + 1)
    with pytest.raises(WorkerError, match="another protocol") as error:
        WorkerClient(WorkerSpec(None))
    assert f"protocol {PROTOCOL} of cnnbench" in str(error.value)
    assert "install the same cnnbench" in str(error.value)


def test_an_interpreter_that_is_not_there_or_lacks_cnnbench_is_a_worker_error(tmp_path):
    with pytest.raises(WorkerError, match="does not start"):
        WorkerClient(WorkerSpec(None, python=str(tmp_path / "python")))
    bare = tmp_path / "bare"
    bare.write_text("#!/bin/sh\necho 'No module named cnnbench' >&2\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(WorkerCrashError, match="exit code 1"):
        WorkerClient(WorkerSpec(None, python=str(bare)))


def test_a_worker_ends_when_its_parent_is_killed():
    code = (
        "import time; from cnnbench.harness.worker.client import WorkerClient\n"
        "from cnnbench.harness.worker.specification import WorkerSpec\n"
        "worker = WorkerClient(WorkerSpec(None)); print(worker.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
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
    with WorkerClient(spec) as worker:
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
    worker = WorkerClient(WorkerSpec(None))
    (worker.folder / "left").write_text("x")
    worker.close()
    assert not worker.folder.exists()
    assert not Path(f"/proc/{worker.pid}").exists()


def test_a_line_that_is_no_request_ends_the_worker_and_stands_in_its_log():
    with WorkerClient(WorkerSpec(None)) as worker:
        os.write(worker._process.requests, b"garbage\n")
        with pytest.raises(WorkerCrashError, match="exit code 1"):
            sample(worker)
        assert "ProtocolError: a request is not JSON" in worker.log.text()


def test_nothing_heavy_is_imported_before_processors_are_bound_nor_numpy_before_a_backend():
    """What a backend imports counts as its own import; what starts threads must find the processors bound."""
    code = (
        "import sys, cnnbench.harness.worker.process; print(*sorted(sys.modules))\n"
        "import cnnbench.harness.worker.server; print(*sorted(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    process, server = (set(line.split()) for line in run.stdout.splitlines())
    assert not process & {"numpy", "pydantic", "psutil"}
    assert "pydantic" in server
    assert "numpy" not in server
