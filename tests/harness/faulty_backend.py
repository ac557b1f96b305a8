"""A backend plugin whose modes go wrong in one way each, on top of the NumPy backend's reference."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path

from cnnbench.errors import UnavailableError
from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.contract import BackendPlugin, Capabilities
from cnnbench.hookspecs import hookimpl

MODES = (
    "good", "crash", "hang", "print", "nan", "shape", "dtype", "hog", "lazy", "slow", "raise", "die_once", "wrong",
    "lacks", "stale", "zero_loss",
)  # fmt: skip
PRECISIONS = ("float32", "float64")


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


@hookimpl
def cnnbench_backends():
    return [_plugin("faulty", _load), _plugin("unimportable", _load_nothing)]


def _load_nothing():
    raise ImportError("libmissing.so: cannot open shared object file")


def _load():
    from dataclasses import replace

    from cnnbench_numpy.backend import NumpyBackend

    class FaultyBackend(NumpyBackend):
        name = "faulty"

        def capabilities(self):
            found = super().capabilities()
            return Capabilities(MODES, dict.fromkeys(MODES, PRECISIONS), ("cpu",), found.kinds)

        def compile_forward(self, graph, options):
            program = super().compile_forward(graph, replace(options, mode="reference"))
            if graph.name == "null":
                return program
            return FaultyForward(program, options.mode)

        def compile_gradient(self, graph, options, loss=None):
            return super().compile_gradient(graph, replace(options, mode="reference"), loss)

        def compile_step(self, graph, options, loss, optimizer):
            program = super().compile_step(graph, replace(options, mode="reference"), loss, optimizer)
            if options.mode == "zero_loss":
                program.loss = lambda result: 0.0
            return program

    return FaultyBackend()


class FaultyForward(ForwardProgram):
    def __init__(self, program, mode):
        self.program, self.mode = program, mode
        self.runs = self.loads = 0
        self.pending = 0
        self.took_s = 0.0

    def load(self, weights, state):
        self.loads += 1
        if self.mode != "stale" or self.loads == 1:
            self.program.load(weights, state)

    def upload(self, batch):
        return self.program.upload(batch)

    def run(self, operands):
        self.runs += 1
        action = getattr(self, f"_{self.mode}", None)
        if action is not None:
            action()
        start = time.perf_counter()
        try:
            return self.program.run(operands)
        finally:
            self.took_s = time.perf_counter() - start

    def download(self, results):
        import numpy as np

        result = self.program.download(results)
        # The work of the runs that nobody waited for, as long as a run takes here; the results are there afterwards.
        time.sleep(min(self.pending, 16) * max(0.01, self.took_s))
        self.pending = 0
        change = {
            "nan": lambda array: np.where(np.arange(array.size).reshape(array.shape) == 3, np.nan, array),
            "shape": lambda array: array[:, :-1],
            "dtype": lambda array: array.astype(np.float16),
            "wrong": lambda array: array * 1.01,
        }.get(self.mode, lambda array: array)
        return result._replace(outputs={name: change(array) for name, array in result.outputs.items()})

    def _crash(self):
        os.abort()

    def _hang(self):
        time.sleep(1000)

    def _lacks(self):
        raise UnavailableError("this build has no kernel for the device", remedy="install another build")

    def _raise(self):
        raise ValueError("no such kernel")

    def _lazy(self):
        self.pending += 1

    def _slow(self):
        time.sleep(0.01)

    def _print(self):
        if self.runs > 1:
            return
        print('{"number": 1, "result": {"forged": true}}', flush=True)  # noqa: T201 - the point
        os.write(1, b"straight to descriptor one\n")
        for _ in range(200):
            sys.stderr.write("noise " * 20_000)  # 24 MB in all

    def _hog(self):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
        bytearray(2**30)

    def _die_once(self):
        """Killed in the middle of sampling, unless it was before (the file says so)."""
        mark = Path(os.environ["FAULTY_MARK"])
        if self.runs == 12 and not mark.exists():
            mark.write_text("died")
            os.kill(os.getpid(), signal.SIGKILL)
