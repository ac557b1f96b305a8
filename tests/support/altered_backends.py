"""A plugin of backends that are NumPy's in all but one respect: one can be slowed, one normalises with another epsilon.

``CNNBENCH_SLOWED=name:factor,...`` makes the forward programs of that backend take ``factor`` times as long;
``CNNBENCH_WAITING=name:seconds,...`` lets them sleep as well, which a busy machine disturbs less;
``CNNBENCH_KILLED=name`` lets the process die where it compiles one.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from functools import partial

from cnnbench.execution.contract import BackendPlugin
from cnnbench.execution.operations import Operation
from cnnbench.hookspecs import hookimpl

NAMES = ("plain", "second", "third", "fourth", "odd_epsilon")


@hookimpl
def cnnbench_backends():
    return [
        BackendPlugin(
            name=name,
            requires=("numpy",),
            load=partial(_load, name),
            modes=("fast",),
            precisions={"fast": ("float32", "float64")},
            devices=("cpu",),
            layouts=("auto",),
            colour="#888888",
            distribution="numpy",
        )
        for name in NAMES
    ]


def _load(backend_name):
    from cnnbench_numpy.backend import NumpyBackend

    factors = _pairs(os.environ.get("CNNBENCH_SLOWED", ""))
    waits = _pairs(os.environ.get("CNNBENCH_WAITING", ""))

    class Altered(NumpyBackend):
        name = backend_name

        def compile_forward(self, graph, options):
            if os.environ.get("CNNBENCH_KILLED") == backend_name:
                os.kill(os.getpid(), signal.SIGKILL)
            program = super().compile_forward(graph, options)
            if backend_name in factors:
                program.run = _slower(program.run, factors[backend_name])
            if backend_name in waits:
                program.run = _waiting(program.run, waits[backend_name])
            return program

    backend = Altered()
    if backend_name == "odd_epsilon":
        own = backend.operations["batch_norm"]
        altered = Operation(_with_keras_epsilon(own.forward), own.backward, own.weight_layout)
        backend.operations = backend.operations.replace("batch_norm", altered)
    return backend


def _pairs(text):
    pairs = (part.partition(":") for part in filter(None, text.split(",")))
    return {name: float(value) for name, _, value in pairs}


def _waiting(run, seconds):
    """Runs, then sleeps."""

    def waiting(operands):
        result = run(operands)
        time.sleep(seconds)
        return result

    return waiting


def _slower(run, factor):
    """Runs, then works on for as long as it takes to be ``factor`` times as slow."""

    def slower(operands):
        start = time.perf_counter()
        result = run(operands)
        end = start + factor * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return result

    return slower


def _with_keras_epsilon(forward):
    def normalise(layer, inputs, weights, state, call):
        return forward(replace(layer, eps=1e-3), inputs, weights, state, call)

    return normalise
