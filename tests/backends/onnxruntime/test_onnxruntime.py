"""ONNX Runtime as a backend: what it runs, what it refuses before it runs, and how its sessions are set."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cnnbench.conformance import conformance_tests
from cnnbench.errors import UnavailableError
from cnnbench.execution.backends import backend_plugins, load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, Linear, ReLU
from cnnbench.spec.layers.loss import NLLLoss
from cnnbench.spec.layers.recurrent import LSTM
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import general_position, split_state

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
if "onnxruntime" not in backend_plugins():
    pytest.skip("the distribution in backends/cnnbench_onnxruntime is not installed", allow_module_level=True)
pytestmark = pytest.mark.onnxruntime
OWN_FORMS = ("sigmoid", "elu", "group_norm", "local_response_norm")

globals().update(conformance_tests("onnxruntime", kinds=OWN_FORMS, modes=["optimized"], onnx=False, faults=False))


def options(mode="optimized"):
    return ProgramOptions(mode, precision("float32"))


@pytest.fixture(scope="module")
def backend():
    loaded = load_backend("onnxruntime")
    loaded.configure(ProcessSettings(threads=1))
    return loaded


def chain(*layers, image=(3, 8, 8)):
    builder = Builder("chain")
    x = builder.input("image", image)
    for i, layer in enumerate(layers):
        x = builder.add(f"node{i}", layer, x)
    return builder.build(x)


def run(backend, graph, mode="optimized", batch=2):
    program = backend.compile_forward(graph, options(mode))
    program.load(*split_state(graph, general_position(graph, 0)))
    image = np.random.default_rng(0).normal(size=graph.inputs[0].full_shape(batch)).astype(np.float32)
    operands = program.upload({"image": image})
    program.prepare(operands)
    return program, program.download(program.run(operands)).outputs


def test_the_plugin_imports_neither_onnx_nor_onnx_runtime():
    code = (
        "import sys, cnnbench_onnxruntime.plugin as p; p.cnnbench_backends(); print({'onnx', p.NAME} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_modes_are_with_and_without_graph_optimisation(backend):
    graph = chain(Conv(out_channels=4, kernel_size=3), BatchNorm(), ReLU())
    levels = {}
    for mode in ("optimized", "plain"):
        program, outputs = run(backend, graph, mode)
        levels[mode] = program._session.get_session_options().graph_optimization_level.name
        assert next(iter(outputs.values())).shape == (2, 4, 6, 6)
    assert levels == {"optimized": "ORT_ENABLE_ALL", "plain": "ORT_DISABLE_ALL"}


def test_threads_and_the_provider_are_recorded():
    other = load_backend("onnxruntime")
    other.configure(ProcessSettings(threads=3))
    facts = other.describe()
    assert (facts["intra_op_threads"], facts["inter_op_threads"], facts["spinning"]) == ("3", "1", "0")
    assert facts["provider"] == "CPUExecutionProvider"
    with pytest.raises(UnavailableError, match="device"):
        other.configure(ProcessSettings(device="cuda"))


def test_a_program_takes_other_weights_and_other_batches(backend):
    graph = chain(Conv(out_channels=4, kernel_size=3), ReLU())
    program, _ = run(backend, graph)
    arrays = {name: array * 0 + 1 for name, array in general_position(graph, 0).items()}
    program.load(*split_state(graph, arrays))
    found = program.download(program.run(program.upload({"image": np.ones((5, 3, 8, 8), np.float32)}))).outputs
    np.testing.assert_array_equal(next(iter(found.values())), np.full((5, 4, 6, 6), 28.0))


def test_a_shared_weight_is_held_once(backend):
    builder = Builder("siamese")
    left, right = builder.input("image", (3, 6, 6)), builder.input("other", (3, 6, 6))
    x = builder.add("conv", Conv(out_channels=16, kernel_size=3), left)
    y = builder.add("again", Conv(out_channels=16, kernel_size=3), right, weights_of="conv")
    graph = builder.build({"x": x, "y": y})
    program = backend.compile_forward(graph, options())
    program.load(*split_state(graph, general_position(graph, 0)))
    image = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    found = program.download(program.run(program.upload({"image": image, "other": image}))).outputs
    np.testing.assert_array_equal(found["x"], found["y"])
    assert list(program._beside[0]) == ["conv.weight"]


@pytest.mark.parametrize("what", ["training", "gradient", "step"])
def test_what_is_no_inference_is_refused(backend, what):
    graph = chain(Conv(out_channels=4, kernel_size=3))
    with pytest.raises(UnavailableError, match="inference only"):
        if what == "training":
            backend.compile_forward(graph, ProgramOptions("optimized", precision("float32"), training=True))
        elif what == "gradient":
            backend.compile_gradient(graph, options(), CrossEntropy())
        else:
            backend.compile_step(graph, options(), CrossEntropy(), SGD())


def test_what_it_cannot_compute_is_refused_when_it_is_compiled(backend):
    with pytest.raises(UnavailableError, match="gates"):
        backend.compile_forward(chain(LSTM(hidden_size=3), image=(5, 4)), options())
    builder = Builder("loss")
    scores = builder.add("fc", Linear(out_features=3), builder.input("image", (4,)))
    labels = builder.input("labels", (), dtype="int")
    graph = builder.build(builder.add("loss", NLLLoss(label_smoothing=0.1), scores, labels))
    with pytest.raises(UnavailableError, match="label smoothing"):
        backend.compile_forward(graph, options())


def test_every_kind_says_that_it_has_no_gradient(backend):
    without = {gap.kind for gap in backend.capabilities().gaps if gap.gradient_only}
    assert without >= backend.capabilities().kinds


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_fault_of_inference_is_killed_and_located(backend):
    from cnnbench.numerics.faults import kill_table

    rows = [row for row in kill_table(backend, options()) if not row.skipped]
    assert len(rows) >= 250
    assert {row.fault: row.message for row in rows if not row.killed or not row.located or row.false_alarm} == {}
