"""What a worker may die of, hang in, print or give back: it ends its own cell, and the rest is measured."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from real_command import PeakMemory

FATES = {  # mode: (status, what its reason says, what its log says)
    "killed": ("crashed", "SIGKILL", ""),
    "segfault": ("crashed", "SIGSEGV", "_segfault"),
    "ended": ("crashed", "exit code 0", ""),
    "hang": ("hung", "no answer to 'prepare'", "_hang"),
    "stuck": ("hung", "no answer to 'prepare'", "_stuck"),
    "stopped": ("hung", "no answer to 'prepare'", ""),
    "hog": ("out_of_memory", "MemoryError", "_hog"),
    "deep": ("error", "RecursionError", "_deep"),
    "overflow": ("crashed", "SIGSEGV", "Segmentation fault"),
    "nan": ("nan", "not finite", ""),
    "shape": ("wrong_shape", "expected [1, 10]", ""),
    "dtype": ("wrong_dtype", "float16", ""),
    "raises": ("error", "no such kernel", "_raises"),
    "garbage": ("ok", "", ""),
    "forged": ("ok", "", ""),
    "escapes": ("ok", "", ""),
    "good": ("ok", "", ""),
}
LOADING = {
    "unimportable": ("error", "libmissing.so"),
    "exploding": ("crashed", "SIGSEGV"),
    "sleeping": ("hung", "no answer to 'load'"),
}


@pytest.fixture(scope="module")
def disaster(shared_command):
    """One run in which everything goes wrong, each in its own cell."""
    backends = [{"name": "perilous", "mode": list(FATES)}] + [{"name": name, "mode": ["good"]} for name in LOADING]
    shared_command.suite(
        matrix={"architectures": ["simple_cnn"], "image": [[1, 8, 8]], "num_classes": 10, "backends": backends},
        timeouts={"compile_s": 8.0, "call_s": 60.0, "start_s": 20.0},
    )
    ended = shared_command.run("run", "suite.yaml", "--no-mlflow")
    assert "Traceback" not in ended.stderr
    assert ended.code == 3, ended.text
    return shared_command


@pytest.mark.parametrize("mode", FATES)
def test_a_worker(disaster, mode):
    status, reason, log = FATES[mode]
    record = disaster.records()[f"perilous {mode}"]
    assert record["status"] == status, record["reason"]
    assert reason in (record["reason"] or "")
    if log:
        assert log in disaster.log(record)
    if status == "ok":
        assert record["latency"]["samples"] == 6


@pytest.fixture
def memory_group():
    """A control group of at most 256 MiB, of either version, where one may be made."""
    reasons = []
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = Path(root, f"cnnbench-test-{os.getpid()}")
        try:
            folder.mkdir()
        except OSError as error:
            reasons.append(str(error))
            continue
        try:
            if (folder / limit).exists():
                (folder / limit).write_text(str(256 * 2**20))
                yield folder
                return
            reasons.append(f"{root} has no memory controller")
        except OSError as error:
            reasons.append(str(error))
        finally:
            _remove(folder)
    pytest.skip(f"no control group can be made here: {'; '.join(reasons)}")


def _remove(folder, patience_s=10.0):
    """A group can be removed once the last of its processes is gone for good."""
    end = time.monotonic() + patience_s
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_a_worker_beyond_the_limit_of_its_control_group(command, memory_group):
    """The kernel kills it, which looks like any SIGKILL but for the kernel's own count."""
    command.suite("good", "grouped")
    ended = command.run("run", "suite.yaml", "--no-mlflow", PERIL_GROUP=str(memory_group))
    assert ended.code == 3, ended.text
    assert command.statuses() == {"good": "ok", "grouped": "out_of_memory"}
    assert "out of memory" in command.records()["perilous grouped"]["reason"]


@pytest.mark.parametrize("backend", LOADING)
def test_loading(disaster, backend):
    status, reason = LOADING[backend]
    record = disaster.records()[f"{backend} good"]
    assert record["status"] == status
    assert reason in record["reason"]


def test_the_run_ends_whole(disaster):
    """Every cell has its record, reports and JUnit are written, and no process is left."""
    folder = disaster.runs()[-1]
    summary = disaster.summary()
    assert summary["exit_code"] == 3
    assert not summary["not_run"]
    assert not summary["defects"]
    assert {"report.html", "report.md", "junit.xml"} <= {path.name for path in folder.iterdir()}
    assert "\x1b" not in (folder / "report.html").read_text()
    assert not disaster.orphans()


def test_wrong_numbers_alone_end_with_4(command):
    command.suite("good", "nan", "shape", "dtype")
    assert command.run("run", "suite.yaml", "--no-mlflow").code == 4
    assert command.statuses()["good"] == "ok"


def _flooded(command, size: int, limit_s: float) -> None:
    """Runs with so many bytes on stderr; the parent's memory and the folder stay as they are without."""
    command.suite("flood", "good", timeouts={"compile_s": limit_s, "call_s": 60.0})
    process = command.start("run", "suite.yaml", "--no-mlflow", PERIL_FLOOD_BYTES=str(size))
    memory = PeakMemory(process.pid)
    _, stderr = process.communicate(timeout=limit_s + 100)
    assert process.returncode == 0, stderr
    assert command.statuses() == {"flood": "ok", "good": "ok"}
    assert memory.peak_bytes < 200 * 2**20
    assert sum(path.stat().st_size for path in command.runs()[-1].rglob("*") if path.is_file()) < 4 * 2**20
    assert len(stderr) < 10_000


def test_a_flood_of_stderr(command):
    _flooded(command, 200 * 2**20, 60.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_gigabytes_of_stderr(command):
    _flooded(command, 10 * 10**9, 600.0)


def test_yardsticks_that_die_cost_the_yardsticks_only(command):
    (command.folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'cnnbench.harness.worker.process' in sys.orig_argv:\n"
        "    import cnnbench.measurement.yardsticks as module\n"
        "    module.yardsticks = lambda: os.abort()\n"
    )
    command.paths = (str(command.folder), *command.paths)
    measure = {"latency": {"launches": 1, "rounds": 1, "samples": 2}, "memory": False, "yardsticks": True}
    command.suite("good", measure=measure)
    ended = command.run("run", "suite.yaml", "--no-mlflow", "--json")
    assert ended.code == 0, ended.text
    (run,) = json.loads(ended.stdout)["runs"]
    assert any("yardsticks" in note and "SIGABRT" in note for note in run["summary"]["notes"])
