"""A plugin whose backend modes come to a bad end, and which can hold a run at any stage so that a test can strike."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.contract import BackendPlugin, Capabilities
from cnnbench.hookspecs import hookimpl

MODES = (
    "good", "slow", "killed", "segfault", "ended", "hang", "stuck", "stopped", "hog", "grouped", "deep", "overflow",
    "garbage", "forged", "flood", "nan", "shape", "dtype", "raises", "escapes",
)  # fmt: skip
PRECISIONS = ("float32", "float64")
BLOCK = 2**20


def _plugin(name, load):
    return BackendPlugin(
        name=name,
        requires=("numpy",),
        load=load,
        modes=MODES,
        precisions=dict.fromkeys(MODES, PRECISIONS),
        devices=("cpu",),
        layouts=("auto",),
        colour="#888888",
        distribution="numpy",
    )


def hold(stage: str) -> None:
    """Waits to be struck where the test wants this stage; the mark tells it that the stage is reached.

    A held run goes on when the mark is removed, and is held once.
    """
    mark = os.environ.get("PERIL_MARK")
    if mark is None or os.environ.get("PERIL_STAGE") != stage or Path(f"{mark}.passed").exists():
        return
    Path(mark).write_text(stage)
    end = time.monotonic() + 60
    while Path(mark).exists() and time.monotonic() < end:
        time.sleep(0.02)
    Path(f"{mark}.passed").touch()


def _in_worker() -> bool:
    return "cnnbench.harness.worker.process" in sys.orig_argv


@hookimpl
def cnnbench_backends():
    if not _in_worker():
        hold("plan")
    loaders = {"perilous": _load, "unimportable": _missing, "exploding": _explode, "sleeping": _sleep}
    return [_plugin(name, load) for name, load in loaders.items()]


@hookimpl
def cnnbench_run_started(run):
    hold("started")


@hookimpl
def cnnbench_run_finished(run):
    hold("finished")


@hookimpl
def cnnbench_metrics():
    frame, names = sys._getframe(), set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    if "write_reports" in names:
        hold("report")
    return []


def _missing():
    raise ImportError("libmissing.so: cannot open shared object file")


def _explode():
    ctypes.string_at(0)


def _sleep():
    time.sleep(1000)


def _load():
    hold("load")
    from dataclasses import replace

    from cnnbench_numpy.backend import NumpyBackend

    class PerilousBackend(NumpyBackend):
        name = "perilous"

        def capabilities(self):
            found = super().capabilities()
            return Capabilities(MODES, dict.fromkeys(MODES, PRECISIONS), ("cpu",), found.kinds)

        def compile_forward(self, graph, options):
            hold("compile")
            program = super().compile_forward(graph, replace(options, mode="reference"))
            return program if graph.name == "null" else PerilousForward(program, options.mode)

        def compile_gradient(self, graph, options, loss=None):
            return super().compile_gradient(graph, replace(options, mode="reference"), loss)

        def compile_step(self, graph, options, loss, optimizer):
            return super().compile_step(graph, replace(options, mode="reference"), loss, optimizer)

    return PerilousBackend()


class PerilousForward(ForwardProgram):
    def __init__(self, program, mode):
        self.program, self.mode = program, mode
        self.runs = 0

    def load(self, weights, state):
        self.program.load(weights, state)

    def upload(self, batch):
        return self.program.upload(batch)

    def run(self, operands):
        self.runs += 1
        if self.runs == 8:
            hold("calls")
        action = globals().get(f"_{self.mode}")
        if action is not None:
            action(self.runs)
        return self.program.run(operands)

    def download(self, results):
        import numpy as np

        result = self.program.download(results)
        change = {
            "nan": lambda array: np.where(np.arange(array.size).reshape(array.shape) == 3, np.nan, array),
            "shape": lambda array: array[:, :-1],
            "dtype": lambda array: array.astype(np.float16),
        }.get(self.mode, lambda array: array)
        return result._replace(outputs={name: change(array) for name, array in result.outputs.items()})


def _slow(runs):
    time.sleep(0.01)


def _killed(runs):
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault(runs):
    ctypes.string_at(0)


def _ended(runs):
    os._exit(0)


def _hang(runs):
    time.sleep(1000)


def _stuck(runs):
    ctypes.PyDLL(None).sleep(1000)  # in C, with the interpreter's lock held: no Python thread runs


def _stopped(runs):
    os.kill(os.getpid(), signal.SIGSTOP)


def _hog(runs):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, hard))
    try:
        bytearray(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _grouped(runs):
    """Joins the control group of the test and takes memory until the kernel ends it."""
    Path(os.environ["PERIL_GROUP"], "cgroup.procs").write_text(str(os.getpid()))
    kept = []
    for _ in range(4096):
        kept.append(bytearray(os.urandom(BLOCK)))


def _deep(runs):
    _deep(runs + 1)


def _overflow(runs):
    """Python calling C calling Python until the C stack ends."""
    kind = ctypes.CFUNCTYPE(None)
    sys.setrecursionlimit(10**9)
    call = kind(lambda: call())
    call()


def _garbage(runs):
    if runs == 1:
        noise = bytes(range(256)) * 64 + b"\x1b[2J\x1b]0;title\x07</script>\r\n"
        for descriptor in (1, 2):
            os.write(descriptor, noise)


def _forged(runs):
    """Replies that are none: on stdout, where no one listens for them."""
    if runs == 1:
        sys.stdout.write('{"number": 1, "result": {"forged": true}}\n' * 100)
        sys.stdout.flush()


def _flood(runs):
    if runs > 1:
        return
    block = b"x" * 79 + b"\n"
    block *= BLOCK // len(block)
    for _ in range(int(os.environ.get("PERIL_FLOOD_BYTES", 200 * 2**20)) // len(block) + 1):
        os.write(2, block)


def _raises(runs):
    raise ValueError("no such kernel \x00 \ud800")


def _escapes(runs):
    """Leaves a child behind that has a session of its own and keeps all pipes open."""
    if runs == 1 and os.fork() == 0:
        time.sleep(1000)
        os._exit(0)
