"""Forward programs that are right at first sight: each wraps a right one and goes wrong in one way.

Used in process (``deceitful(backend, "reload")``), and in workers as the backend ``deceitful``, whose modes they are.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np

from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.contract import BackendPlugin, Capabilities
from cnnbench.hookspecs import hookimpl
from cnnbench.measurement.clock import Clock

FACTOR = np.float32(1.01)


class Deceitful(ForwardProgram):
    """A right program, whose results ``spoil`` may change on the host."""

    def __init__(self, inner):
        self.inner = inner
        self.calls = self.loads = 0

    def load(self, weights, state):
        self.loads += 1
        self.inner.load(weights, state)

    def upload(self, batch):
        return self.inner.upload(batch)

    def prepare(self, operands):
        self.inner.prepare(operands)

    def run(self, operands):
        self.calls += 1
        return self.inner.run(operands), operands, self.calls

    def download(self, results):
        inner, operands, call = results
        return self.spoil(self.inner.download(inner), operands, call)

    def held(self):
        return self.inner.held()

    def spoil(self, result, operands, call):
        outputs = {name: np.array(array) for name, array in result.outputs.items()}
        for array in outputs.values():
            self.change(array, operands, call)
        return result._replace(outputs=outputs)

    def change(self, array, operands, call):
        """Changes an output in place."""


class BatchOfThree(Deceitful):
    def change(self, array, operands, call):
        if len(array) >= 3:
            array *= FACTOR


class OddBatch(Deceitful):
    def change(self, array, operands, call):
        if len(array) % 2:
            array *= FACTOR


class SecondCall(Deceitful):
    def change(self, array, operands, call):
        if call > 1:
            array *= FACTOR


class TwentiethCall(Deceitful):
    def change(self, array, operands, call):
        if call >= 20:
            array *= FACTOR


class AfterReload(Deceitful):
    def change(self, array, operands, call):
        if self.loads > 1:
            array *= FACTOR


class LoadedOnce(Deceitful):
    def load(self, weights, state):
        self.loads += 1
        if self.loads == 1:
            self.inner.load(weights, state)


class StatisticsKept(Deceitful):
    """Weights are loaded each time, running statistics the first time only."""

    def load(self, weights, state):
        self.state = getattr(self, "state", state)
        self.inner.load(weights, self.state)


class OneWeightLost(Deceitful):
    def load(self, weights, state):
        weights = {name: np.array(array) for name, array in weights.items()}
        next(iter(weights.values())).reshape(-1)[0] *= np.float32(1 + 1e-6)
        self.inner.load(weights, state)


class MovingState(Deceitful):
    def spoil(self, result, operands, call):
        return result._replace(state={name: array * (1 + 1e-6 * call) for name, array in result.state.items()})


class AfterPrepare(Deceitful):
    prepared = False

    def prepare(self, operands):
        self.prepared = True

    def change(self, array, operands, call):
        if self.prepared:
            array *= FACTOR


class WarmHalf(Deceitful):
    """Float16 from the third call on."""

    def change(self, array, operands, call):
        if call > 2:
            array[...] = array.astype(np.float16)


class OneImage(Deceitful):
    """The last image of a batch has the answer of the first, once warm."""

    def change(self, array, operands, call):
        if call > 2:
            array[-1] = array[0]


class KeptByIdentity(Deceitful):
    """A result is kept as long as the operands are the same object."""

    kept = None

    def run(self, operands):
        if self.kept is None or self.kept[0] is not operands:
            self.kept = operands, super().run(operands)
        return self.kept[1]


class KeptByNumber(Deceitful):
    """Results are kept by ``id()`` of their operands, which another object may have later."""

    def run(self, operands):
        self.results = getattr(self, "results", {})
        if id(operands) not in self.results:
            self.results[id(operands)] = super().run(operands)
        return self.results[id(operands)]


class KeptByHostMemory(Deceitful):
    """Operands are kept by the identity of the host's arrays."""

    def upload(self, batch):
        key = tuple(id(array) for array in batch.values())
        self.uploaded = getattr(self, "uploaded", {})
        if key not in self.uploaded:
            self.uploaded[key] = super().upload(batch)
        return self.uploaded[key]


class KeptByValue(Deceitful):
    """Results are kept by what their operands hold."""

    def run(self, operands):
        self.results = getattr(self, "results", {})
        key = b"".join(array.tobytes() for array in operands.inputs)
        if key not in self.results:
            self.results[key] = super().run(operands)
        return self.results[key]


class LingeringNan(Deceitful):
    seen = False

    def change(self, array, operands, call):
        if self.seen:
            array[..., -1] += 1
        self.seen = bool(np.isnan(array).any())


class Lazy(Deceitful):
    """The work is put off until the result is read."""

    def run(self, operands):
        self.calls += 1
        return operands, self.calls

    def download(self, results):
        operands, call = results
        return super().download((self.inner.run(operands), operands, call))


class LazyOnce(Lazy):
    """The same, and the result is kept for the next time that it is read."""

    def download(self, results):
        self.read = getattr(self, "read", {})
        if results[1] not in self.read:
            self.read[results[1]] = super().download(results)
        return self.read[results[1]]


class Paced(Deceitful):
    """Kept results, after a sleep that is far too short for the work."""

    def run(self, operands):
        self.results = getattr(self, "results", {})
        key = b"".join(array.tobytes() for array in operands.inputs)
        if key not in self.results:
            self.results[key] = super().run(operands)
        time.sleep(0.0005)
        return self.results[key]


class PatchedClock(Deceitful):
    """The clock of its process runs at a tenth of its rate."""

    def run(self, operands):
        if not hasattr(PatchedClock, "right"):
            right = PatchedClock.right = time.perf_counter
            start = right()
            slow = lambda: start + (right() - start) / 10  # noqa: E731
            for module in list(sys.modules.values()):
                if module is not time and getattr(module, "__name__", "").startswith("cnnbench"):
                    for name, value in list(vars(module).items()):
                        if value is right:
                            setattr(module, name, slow)
            time.perf_counter = slow
            Clock.__init__.__defaults__ = (slow, *(Clock.__init__.__defaults__ or ())[1:])
            for item in gc.get_objects():
                if isinstance(item, Clock):
                    object.__setattr__(item, "now", slow)
        return super().run(operands)


class OtherProcess(Deceitful):
    """Another process works while this one is timed."""

    def run(self, operands):
        if not hasattr(OtherProcess, "child"):
            OtherProcess.child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        return super().run(operands)


class LargeChild(Deceitful):
    """The memory is another process's."""

    def run(self, operands):
        if not hasattr(LargeChild, "child"):
            code = "import time; x = b'1' * 500 * 2**20; print(flush=True); time.sleep(600)"
            LargeChild.child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            LargeChild.child.stdout.readline()
        return super().run(operands)


class TwiceTheThreads(Deceitful):
    """Takes the processors that it was not given."""

    def run(self, operands):
        if not hasattr(TwiceTheThreads, "thread"):
            code = "import hashlib; x = bytes(2**22)\nwhile True: hashlib.sha256(x)"
            TwiceTheThreads.thread = threading.Thread(target=self._work, args=(code,), daemon=True)
            TwiceTheThreads.thread.start()
        return super().run(operands)

    @staticmethod
    def _work(code):
        os.sched_setaffinity(0, range(os.cpu_count()))
        exec(code)


PROGRAMS = {
    "patched_clock": PatchedClock,
    "other_process": OtherProcess,
    "large_child": LargeChild,
    "twice_the_threads": TwiceTheThreads,
    "good": Deceitful,
    "batch_of_three": BatchOfThree,
    "odd_batch": OddBatch,
    "second_call": SecondCall,
    "twentieth_call": TwentiethCall,
    "after_reload": AfterReload,
    "loaded_once": LoadedOnce,
    "statistics_kept": StatisticsKept,
    "one_weight_lost": OneWeightLost,
    "moving_state": MovingState,
    "after_prepare": AfterPrepare,
    "warm_half": WarmHalf,
    "one_image": OneImage,
    "kept_by_identity": KeptByIdentity,
    "kept_by_number": KeptByNumber,
    "kept_by_host_memory": KeptByHostMemory,
    "kept_by_value": KeptByValue,
    "lingering_nan": LingeringNan,
    "lazy": Lazy,
    "lazy_once": LazyOnce,
    "paced": Paced,
}


def deceitful(backend, name):
    """The backend, whose forward programs at inference go wrong in this way; give it a backend of its own."""
    right = backend.compile_forward

    def compile_forward(graph, options):
        program = right(graph, options)
        return program if options.training else PROGRAMS[name](program)

    backend.compile_forward = compile_forward
    return backend


@hookimpl
def cnnbench_backends():
    return [
        BackendPlugin(
            name="deceitful",
            requires=("numpy",),
            load=_load,
            modes=tuple(PROGRAMS),
            precisions=dict.fromkeys(PROGRAMS, ("float32", "float64")),
            devices=("cpu",),
            layouts=("auto",),
            colour="#888888",
            distribution="numpy",
        )
    ]


def _load():
    from cnnbench_numpy.backend import NumpyBackend

    class DeceitfulBackend(NumpyBackend):
        name = "deceitful"

        def capabilities(self):
            found = super().capabilities()
            return Capabilities(tuple(PROGRAMS), dict.fromkeys(PROGRAMS, ("float32", "float64")), ("cpu",), found.kinds)

        def compile_forward(self, graph, options):
            program = super().compile_forward(graph, replace(options, mode="fast"))
            known = graph.name != "null" and not options.training
            return PROGRAMS[options.mode](program) if known else program

        def compile_gradient(self, graph, options, loss=None):
            return super().compile_gradient(graph, replace(options, mode="fast"), loss)

        def compile_step(self, graph, options, loss, optimizer):
            return super().compile_step(graph, replace(options, mode="fast"), loss, optimizer)

    return DeceitfulBackend()
