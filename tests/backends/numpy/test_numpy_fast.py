"""The fast mode computes what the reference does: whole networks, blocks, threads, fusion, memory."""

from __future__ import annotations

import numpy as np
import pytest
from cnnbench_numpy.backend import NumpyBackend
from cnnbench_numpy.fast import conv as fast_conv
from cnnbench_numpy.fast.fusion import fuse
from cnnbench_numpy.fast.team import Team
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbench.errors import DataError, SpecError, UnavailableError
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.operations import Operation, OpResult
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, BatchNorm, Conv, Dropout, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU, Tanh
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize, split_state


def options(mode="fast", name="float64", **fields):
    return ProgramOptions(mode=mode, precision=precision(name), **fields)


def arrays_of(graph, seed=0):
    """Initial arrays with statistics and affine maps that a fold or a swap would show."""
    generator = np.random.default_rng(seed)
    arrays = dict(initialize(graph, seed))
    for name, array in arrays.items():
        if array.ndim == 1:
            arrays[name] = (array + generator.uniform(0.2, 0.6, array.shape)).astype(np.float32)
    return split_state(graph, arrays)


def image(graph, batch, seed=0):
    return {
        item.name: np.random.default_rng(seed).normal(size=item.full_shape(batch)).astype(np.float32)
        for item in graph.inputs
    }


def run(graph, batch, given_options, backend=None):
    program = (backend or NumpyBackend()).compile_forward(graph, given_options)
    program.load(*arrays_of(graph))
    return program.download(program.run(program.upload(batch))).outputs


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name in found:
        assert found[name].shape == expected[name].shape
        assert np.abs(found[name] - expected[name]).max() <= tolerance * np.abs(expected[name]).max()


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("layout", ["auto", "channels_first"])
@pytest.mark.parametrize(
    ("network", "size"), [("resnet20", None), ("resnet18", 64), ("resnet50", 64), ("lenet5", None)]
)
def test_networks_agree_with_the_reference(network, size, layout, folded):
    graph = build(network, image=(3, size, size)) if size else build(network)
    batch = image(graph, 2)
    fast = run(graph, batch, options(layout=layout, fold_batch_norm=folded))
    assert_close(fast, run(graph, batch, options("reference")), 1e-12)


def test_float32_stays_float32_and_close():
    graph = build("resnet20")
    batch = image(graph, 2)
    fast = run(graph, batch, options(name="float32", fold_batch_norm=True))
    assert {array.dtype for array in fast.values()} == {np.dtype("float32")}
    assert_close(fast, run(graph, batch, options("reference")), 1e-5)


@pytest.mark.parametrize("network", ["resnet20", "lenet5"])
def test_training_steps_agree_with_the_reference(network):
    graph = build(network)
    states = {}
    for mode in ("fast", "reference"):
        step = NumpyBackend().compile_step(graph, options(mode, training=True), CrossEntropy(), SGD())
        step.load(*arrays_of(graph))
        for seed in (0, 1):
            operands = step.upload({**image(graph, 4, seed), "targets": np.array([0, 3, 9, 3])})
            loss = step.loss(step.run(operands, 0.01))
        states[mode] = (loss, step.snapshot())
    assert states["fast"][0] == pytest.approx(states["reference"][0], rel=1e-10)
    for found, expected in zip(states["fast"][1], states["reference"][1], strict=True):
        assert found.keys() == expected.keys()
        for name in found:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-7, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blocks_of_any_size_cover_a_convolution(make_case, data):
    """Whatever the block sizes and the team, each output is computed once and rightly."""
    axes = data.draw(st.integers(1, 3))
    kernel, dilation, stride = (tuple(data.draw(st.integers(1, most)) for _ in range(axes)) for most in (3, 2, 3))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple((data.draw(st.integers(0, r)), data.draw(st.integers(0, r))) for r in reach)
    sizes = [r + 1 + data.draw(st.integers(0, 9 // axes)) for r in reach]
    groups, wide_in, wide_out = (data.draw(st.integers(1, 3)) for _ in range(3))
    batch = data.draw(st.integers(1, 4))
    layer = Conv(
        out_channels=groups * wide_out,
        kernel_size=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        groups=groups,
    )
    x = np.random.default_rng(0).normal(size=(batch, groups * wide_in, *sizes))
    limits = {
        name: data.draw(st.sampled_from([1, 200, 4000])) for name in ("PATCH_BYTES", "OUTPUT_BYTES", "LEAST_ROWS")
    }
    backend = NumpyBackend()
    backend.configure(ProcessSettings(threads=data.draw(st.integers(1, 3))))
    case = make_case(layer, x)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(fast_conv, name, value)
        found = case.under(mode="fast").output()
    np.testing.assert_allclose(found, case.output(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_runs_are_bitwise_equal_and_have_memory_of_their_own(threads):
    backend = NumpyBackend()
    backend.configure(ProcessSettings(threads=threads))
    graph = build("resnet20").prefix(["conv1", "layer1.0.relu1", "layer2.0.relu2", "fc"])
    program = backend.compile_forward(graph, options(name="float32"))
    program.load(*arrays_of(graph))
    first, second = program.upload(image(graph, 2, 0)), program.upload(image(graph, 2, 1))
    once = program.run(first)
    kept = [np.array(value) for value in once.outputs]
    program.run(second)
    for value, copy in zip(once.outputs, kept, strict=True):
        np.testing.assert_array_equal(value, copy)
    again = program.run(first)
    for value, copy in zip(again.outputs, kept, strict=True):
        np.testing.assert_array_equal(value, copy)


def test_inputs_are_left_alone():
    b = Builder("in place")
    x = b.input("image", (2, 3, 3))
    y = b.add("add", Add(), b.add("relu", ReLU(), x), x)
    graph = b.build(b.add("norm", BatchNorm(), y))
    program = NumpyBackend().compile_forward(graph, options())
    program.load(*arrays_of(graph))
    operands = program.upload(image(graph, 2))
    before = operands.inputs[0].copy()
    program.run(operands)
    np.testing.assert_array_equal(operands.inputs[0], before)


def test_one_program_serves_several_batch_sizes():
    graph = build("resnet20")
    program = NumpyBackend().compile_forward(graph, options(fold_batch_norm=True))
    program.load(*arrays_of(graph))
    for count in (3, 1, 3):
        batch = image(graph, count)
        found = program.download(program.run(program.upload(batch))).outputs
        assert_close(found, run(graph, batch, options("reference")), 1e-12)


def test_an_input_of_the_wrong_shape_is_named():
    graph = build("resnet20")
    program = NumpyBackend().compile_forward(graph, options())
    with pytest.raises(DataError, match="'image' has the wrong shape"):
        program.upload({"image": np.zeros((2, 3, 31, 32))})


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_a_program_without_weights_says_so(mode):
    graph = build("resnet20")
    program = NumpyBackend().compile_forward(graph, options(mode))
    with pytest.raises(SpecError, match="no weights yet"):
        program.run(program.upload(image(graph, 1)))


def test_threads_are_set_and_told():
    backend = NumpyBackend()
    backend.configure(ProcessSettings(threads=1))
    assert (backend.describe()["team_threads"], backend.describe()["blas_threads"]) == ("1", "1")
    backend.configure(ProcessSettings(threads=2))
    assert (backend.describe()["team_threads"], backend.describe()["blas_threads"]) == ("2", "2")
    with pytest.raises(UnavailableError, match="processor only"):
        backend.configure(ProcessSettings(device="cuda"))


def test_small_integers_are_exact_in_float32():
    generator = np.random.default_rng(0)
    b = Builder("integers")
    x = b.input("image", (8, 9, 9))
    y = b.add("conv", Conv(out_channels=16, kernel_size=3, stride=2, padding=((1, 1), (0, 2))), x)
    y = b.add(
        "add",
        Add(),
        y,
        b.add("short", Conv(out_channels=16, kernel_size=1, stride=2, bias=False, padding=((0, 0), (0, 0))), x),
    )
    y = b.add("pool", MaxPool(kernel_size=2, stride=1), b.add("relu", ReLU(), y))
    graph = b.build(b.add("fc", Linear(out_features=7), b.add("flat", Flatten(), y)))
    weights = {spec.name: generator.integers(-3, 4, spec.shape).astype(float) for spec in graph.named_weights()}
    batch = {"image": generator.integers(-3, 4, (3, 8, 9, 9)).astype(float)}
    slope = {"gradient.output": generator.integers(-3, 4, (3, 7)).astype(float)}
    results = {}
    for mode, name in (("fast", "float32"), ("reference", "float32"), ("reference", "float64")):
        backend = NumpyBackend()
        forward = backend.compile_forward(graph, options(mode, name))
        forward.load(weights, {})
        gradient = backend.compile_gradient(graph, options(mode, name))
        gradient.load(weights, {})
        outputs = forward.download(forward.run(forward.upload(batch))).outputs
        found = gradient.download(gradient.run(gradient.upload({**batch, **slope})))
        results[mode, name] = {**outputs, **found.weights, **found.inputs}
    for other in (("fast", "float32"), ("reference", "float32")):
        for name, expected in results["reference", "float64"].items():
            np.testing.assert_array_equal(results[other][name], expected)


def test_a_replaced_op_runs_in_the_fast_mode_too():
    graph, batch = build("resnet20"), image(build("resnet20"), 1)
    backend = NumpyBackend()
    plain = run(graph, batch, options(), backend)
    relu = backend.operations["relu"]

    def twice(layer, inputs, weights, state, call):
        result = relu.forward(layer, inputs, weights, state, call)
        return OpResult(tuple(2 * value for value in result.outputs))

    backend.operations = backend.operations.replace("relu", Operation(twice))
    faulty = run(graph, batch, options(), backend)
    assert_close(faulty, run(graph, batch, options("reference"), backend), 1e-12)
    assert not np.allclose(faulty["logits"], plain["logits"])


def fused_kinds(graph, role="kernel"):
    program = NumpyBackend().compile_forward(graph, options(fold_batch_norm=True)).bound.program
    return [
        (item.kind, tuple(type(stage).__name__ for stage in item.stages)) for item in fuse(program, lambda step: role)
    ]


def residual_block():
    b = Builder("block")
    x = b.input("image", (4, 6, 6))
    y = b.add("conv", Conv(out_channels=4, kernel_size=3, padding=1, bias=False), x)
    y = b.add("relu", ReLU(), b.add("norm", BatchNorm(), y))
    z = b.add("norm2", BatchNorm(), b.add("conv2", Conv(out_channels=4, kernel_size=1), y))
    return b.build(b.add("relu2", ReLU(), b.add("add", Add(), y, z)))


def test_a_residual_block_becomes_two_convolutions():
    kinds = [pair for pair in fused_kinds(residual_block()) if pair[0] != "layout_change"]
    assert kinds == [("conv", ("Bias", "Rectify")), ("conv", ("Bias", "Residual", "Rectify"))]


def test_nothing_is_fused_into_an_op_that_is_not_ours():
    assert [kind for kind, _ in fused_kinds(residual_block(), role="fresh")].count("relu") == 2


def test_a_value_that_is_shown_or_read_twice_is_not_fused_away():
    graph = residual_block()
    shown = graph.prefix(["conv2", "relu2"])
    batch = image(graph, 2)
    for folded in (False, True):
        found = run(shown, batch, options(fold_batch_norm=folded))
        assert_close(found, run(shown, batch, options("reference", fold_batch_norm=folded)), 1e-12)


def test_views_and_unknown_ops_keep_their_memory():
    b = Builder("views")
    x = b.input("image", (4, 1, 1))
    y = b.add("relu", ReLU(), b.add("conv", Conv(out_channels=4, kernel_size=1), x))
    flat = b.add("flat", Flatten(), b.add("drop", Dropout(), y))
    first = b.add("fc1", Linear(out_features=4), b.add("tanh", Tanh(), flat))
    second = b.add("fc2", Linear(out_features=4), first)
    graph = b.build({"sum": b.add("add", Add(), second, flat), "flat": flat, "mean": b.add("avg", GlobalAvgPool(), y)})
    batch = image(graph, 3)
    assert_close(run(graph, batch, options()), run(graph, batch, options("reference")), 1e-12)


def test_buffers_are_used_again():
    graph = build("resnet50", image=(3, 64, 64))
    program = NumpyBackend().compile_forward(graph, options(name="float32", fold_batch_norm=True))
    program.load(*arrays_of(graph))
    operands = program.upload(image(graph, 1))
    program.prepare(operands)
    (planned,) = program._plans.values()
    values = sum(int(np.prod(shape)) for shape in graph.shapes(1).values())
    assert planned_elements(planned) < values / 10


def planned_elements(planned):
    """Elements of the distinct buffers that a planned program's kernels fill."""
    found = {}
    for step in planned.steps:
        for cell in step.forward.__closure__ or ():
            if isinstance(cell.cell_contents, np.ndarray):
                buffer = cell.cell_contents
                while buffer.base is not None:
                    buffer = buffer.base
                found[id(buffer)] = buffer.size
    return sum(found.values())


def test_an_error_in_a_team_reaches_the_caller():
    team = Team(2)

    def task(worker, number):
        if number == 3:
            raise ValueError("task 3")

    with pytest.raises(ValueError, match="task 3"):
        team.run(task, 8)


def test_a_team_does_every_task_once():
    done = []
    Team(3).run(lambda worker, number: done.append(number), 100)
    assert sorted(done) == list(range(100))
