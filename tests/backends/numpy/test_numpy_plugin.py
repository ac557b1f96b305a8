"""The plugin tells of the backend without importing it, and what it tells is true."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cnnbench_numpy.backend import NumpyBackend
from cnnbench_numpy.plugin import cnnbench_backends

from cnnbench.errors import UnavailableError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import ReLU

(PLUGIN,) = cnnbench_backends()


def test_the_plugin_imports_no_numpy():
    code = "import sys, cnnbench_numpy.plugin; assert 'numpy' not in sys.modules, 'numpy was imported'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_backend_has_what_the_plugin_says():
    backend = load_backend("numpy")
    assert isinstance(backend, NumpyBackend)
    found = backend.capabilities()
    assert (found.modes, dict(found.precisions), found.devices) == (
        PLUGIN.modes,
        dict(PLUGIN.precisions),
        PLUGIN.devices,
    )
    assert PLUGIN.modes[0] == "fast"


def test_every_primitive_kind_has_an_op_with_a_backward():
    operations = NumpyBackend().operations
    for kind, cls in layer_kinds().items():
        if cls.__module__.startswith("cnnbench.spec.layers") and not hasattr(cls, "expand"):
            assert operations[kind].backward is not None or not cls.differentiable, kind
    assert TrainableSubsample.kind not in operations


def graph():
    b = Builder("one")
    return b.build(b.add("relu", ReLU(), b.input("x", (2,))))


@pytest.mark.parametrize(("mode", "name"), [("fastest", "float32"), ("fast", "bfloat16")])
def test_an_unknown_mode_or_precision_is_refused(mode, name):
    with pytest.raises(UnavailableError):
        NumpyBackend().compile_forward(graph(), ProgramOptions(mode=mode, precision=precision(name)))


@pytest.mark.parametrize("mode", PLUGIN.modes)
def test_results_are_memory_of_their_own(mode):
    program = NumpyBackend().compile_forward(graph(), ProgramOptions(mode=mode, precision=precision("float32")))
    program.load({}, {})
    x = np.ones((3, 2), np.float32)
    operands = program.upload({"x": x})
    output = program.download(program.run(operands)).outputs["output"]
    assert not np.shares_memory(output, x)
    assert not np.shares_memory(output, operands.inputs[0])
