"""What every backend's programs owe: closed-form losses and steps, state in and out, folding, whole networks."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from typing import Any

import numpy as np
import pytest
from backend_cases import draw, results, worst
from step_cases import LinearTraining, batches, cross_entropy, linear_graph

from cnnbench.errors import DataError, SpecError, UnavailableError
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.host import SlotName
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize, split_state

WAYS = {
    "numpy": ("numpy", "reference"),
    "torch": ("torch", "eager"),
    "jax": ("jax", "jit"),
    "tensorflow": ("tensorflow", "graph"),
    "xla": ("tensorflow", "xla"),
}
_LOADED: dict[str, Backend] = {}


@pytest.fixture(
    params=[pytest.param(way, marks=() if way == "numpy" else getattr(pytest.mark, WAYS[way][0])) for way in WAYS]
)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Loaded; its ``tested_mode`` is the one of the way."""
    name, mode = WAYS[request.param]
    if importlib.util.find_spec(backend_plugin(name).requires[0] if name != "numpy" else "numpy") is None:
        pytest.skip(f"{name} is not installed")
    if request.param not in _LOADED:
        _LOADED[request.param] = found = load_backend(name)
        found.configure(ProcessSettings(threads=2 if name == "tensorflow" else 1))
        found.tested_mode = mode
    return _LOADED[request.param]


def slow(way: str) -> Any:
    return pytest.param(way, marks=pytest.mark.slow)


def options(backend: Backend, name: str = "float64", **fields: Any) -> ProgramOptions:
    return ProgramOptions(backend.tested_mode, precision(name), **fields)


def normal_network() -> Graph:
    """A convolution, a batch norm that folds, one that does not, and dropout."""
    builder = Builder("normal")
    x = builder.input("image", (3, 6, 5))
    x = builder.add("conv", L.Conv(out_channels=4, kernel_size=3, padding=((1, 0), (0, 1)), bias=False), x)
    x = builder.add("norm", L.BatchNorm(eps=1e-3), x)
    x = builder.add("relu", L.ReLU(), x)
    x = builder.add("late", L.BatchNorm(momentum=0.25), x)
    x = builder.add("drop", L.Dropout(p=0.25), x)
    return builder.build(builder.add("fc", L.Linear(out_features=3), builder.add("flat", L.Flatten(), x)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_its_gradient_equal_the_closed_form(backend: Backend, smoothing: float) -> None:
    rng = np.random.default_rng(1)
    builder = Builder("identity")
    graph = builder.build(builder.add("id", L.ChannelAffine(), builder.input("logits", (7,))))
    logits, targets = rng.normal(size=(5, 7)) * 3, np.array([0, 6, 3, 3, 1])
    program = backend.compile_gradient(graph, options(backend), CrossEntropy(label_smoothing=smoothing))
    program.load({"id.weight": np.ones(7), "id.bias": np.zeros(7)}, {})
    found = program.download(program.run(program.upload({"logits": logits, "targets": targets})))
    loss, gradient = cross_entropy(logits, targets, smoothing)
    assert found.loss == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(found.inputs["logits"], gradient, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.weights["id.bias"], gradient.sum(0), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(momentum=0.0),
        SGD(momentum=0.0, weight_decay=0.1),
        SGD(momentum=0.9, weight_decay=0.01),
        SGD(momentum=0.9, nesterov=True, weight_decay=0.01, decay="kernels"),
        SGD(momentum=0.5, nesterov=True),
    ],
    ids=str,
)
def test_steps_equal_the_closed_form(backend: Backend, optimizer: SGD) -> None:
    rng = np.random.default_rng(2)
    weights = {"fc.weight": rng.normal(size=(3, 4)), "fc.bias": rng.normal(size=3)}
    program = backend.compile_step(linear_graph(), options(backend, training=True), MeanSquaredError(), optimizer)
    program.load(weights, {})
    truth = LinearTraining.start(optimizer, weights)
    for rate, (x, targets) in zip((0.1, 0.1, 0.02), batches(3), strict=True):
        loss = program.loss(program.run(program.upload({"x": x, "targets": targets}), rate))
        assert loss == pytest.approx(truth.step(x, targets, rate), rel=1e-13)
    found = program.snapshot()
    for name, value in truth.weights.items():
        np.testing.assert_allclose(found.weights[name], value, rtol=1e-13, atol=1e-15)
    assert set(found.slots) == ({f"{name}/momentum" for name in weights} if optimizer.momentum else set())
    for name, value in found.slots.items():
        np.testing.assert_allclose(value, truth.slots[name.partition("/")[0]], rtol=1e-13, atol=1e-15)


def test_training_goes_on_from_a_snapshot(backend: Backend) -> None:
    graph = normal_network()
    drawn = draw(graph, "snapshot")
    batch = {**drawn.batch, "targets": np.array([0, 2, 1])}

    def program() -> Any:
        return backend.compile_step(graph, options(backend, training=True), CrossEntropy(), SGD(nesterov=True))

    straight = program()
    straight.load(*split_state(graph, drawn.arrays))
    operands = straight.upload(batch)
    straight.run(operands, 0.1)
    halfway = straight.snapshot()
    straight.run(operands, 0.05)
    resumed = program()
    resumed.load(halfway.weights, halfway.state, halfway.slots)
    resumed.run(resumed.upload(batch), 0.05)
    for one, other in zip(straight.snapshot(), resumed.snapshot(), strict=True):
        assert worst(other, one)[0] == 0.0


def test_running_statistics_go_in_and_come_out_and_nothing_is_written_to(backend: Backend) -> None:
    graph = normal_network()
    drawn = draw(graph, "state")
    before = {name: array.copy() for name, array in drawn.arrays.items()}
    weights, state = split_state(graph, drawn.arrays)
    program = backend.compile_forward(graph, options(backend, training=True))
    program.load(weights, state)
    operands = program.upload(drawn.batch)
    first, second = (program.download(program.run(operands)) for _ in range(2))
    for name, array in before.items():
        np.testing.assert_array_equal(drawn.arrays[name], array)
    assert worst(second.state, first.state)[0] == 0.0  # the program holds what was loaded
    assert worst(second.outputs, first.outputs)[0] == 0.0
    x = drawn.batch["image"]
    assert all(not np.array_equal(first.state[name], state[name]) for name in state)
    first.state["norm.running_mean"][:] = 0.0  # a copy: the caller may do with it what he likes
    assert worst(program.download(program.run(program.upload({**drawn.batch, "image": x}))).state, second.state)[0] == 0


def test_a_step_moves_the_running_statistics_on(backend: Backend) -> None:
    builder = Builder("norm")
    builder.add("norm", L.BatchNorm(momentum=0.25), builder.input("x", (3,)))
    graph = builder.build(builder.add("fc", L.Linear(out_features=2), "norm"))
    drawn = draw(graph, "moves")
    program = backend.compile_step(graph, options(backend, training=True), CrossEntropy(), SGD())
    program.load(*split_state(graph, drawn.arrays))
    x = drawn.batch["x"]
    for _ in range(2):
        program.run(program.upload({"x": x, "targets": np.array([0, 1, 1])}), 0.1)
    mean = drawn.arrays["norm.running_mean"] * 0.75**2 + x.mean(0) * (0.25 + 0.75 * 0.25)
    variance = drawn.arrays["norm.running_var"] * 0.75**2 + x.var(0, ddof=1) * (0.25 + 0.75 * 0.25)
    np.testing.assert_allclose(program.snapshot().state["norm.running_mean"], mean, rtol=1e-14)
    np.testing.assert_allclose(program.snapshot().state["norm.running_var"], variance, rtol=1e-14)


def test_fixed_weights_have_no_gradient_and_do_not_move(backend: Backend) -> None:
    builder = Builder("fixed")
    x = builder.add("fc", L.Linear(out_features=4), builder.input("x", (3,)))
    graph = builder.build(builder.add("rbf", L.RadialBasis(out_features=2, output="logit"), x))
    weights = split_state(graph, initialize(graph, 0))[0]
    batch = {"x": np.ones((2, 3)), "targets": np.array([0, 1])}
    gradient = backend.compile_gradient(graph, options(backend), CrossEntropy())
    gradient.load(weights, {})
    assert set(gradient.download(gradient.run(gradient.upload(batch))).weights) == {"fc.weight", "fc.bias"}
    step = backend.compile_step(graph, options(backend), CrossEntropy(), SGD(weight_decay=0.5))
    step.load(weights, {})
    step.run(step.upload(batch), 1.0)
    after = step.snapshot()
    np.testing.assert_array_equal(after.weights["rbf.weight"], weights["rbf.weight"])
    assert not np.array_equal(after.weights["fc.weight"], weights["fc.weight"])
    assert set(after.slots) == {"fc.weight/momentum", "fc.bias/momentum"}


@pytest.mark.parametrize(("name", "limit"), [("float64", 1e-14), ("float32", 2e-6)])
def test_folding_changes_nothing_but_rounding(backend: Backend, name: str, limit: float) -> None:
    graph = normal_network()
    drawn = draw(graph, "fold")
    found = []
    for fold in (False, True):
        program = backend.compile_forward(graph, options(backend, name, fold_batch_norm=fold))
        program.load(*split_state(graph, drawn.arrays))
        found.append(program.download(program.run(program.upload({"image": drawn.batch["image"]}))))
    plain, folded = found
    assert worst(folded.outputs, plain.outputs)[0] < limit
    assert set(plain.state) - set(folded.state) == {"norm.running_mean", "norm.running_var"}
    with pytest.raises(SpecError, match="inference"):
        backend.compile_forward(graph, options(backend, training=True, fold_batch_norm=True))


def test_a_missing_entry_of_a_batch_is_named(backend: Backend) -> None:
    program = backend.compile_gradient(linear_graph(), options(backend), CrossEntropy())
    program.load({"fc.weight": np.ones((3, 4)), "fc.bias": np.ones(3)}, {})
    with pytest.raises(DataError, match="targets"):
        program.upload({"x": np.ones((2, 4))})


def test_what_a_backend_does_not_have_is_said(backend: Backend) -> None:
    with pytest.raises(UnavailableError, match="mode"):
        backend.compile_forward(linear_graph(), ProgramOptions("fastest", precision("float32")))
    with pytest.raises(UnavailableError, match="precision"):
        backend.compile_forward(linear_graph(), options(backend, "tf32"))
    with pytest.raises(UnavailableError):
        backend.configure(ProcessSettings(device="abacus"))


def test_the_description_names_the_version_and_the_device(backend: Backend) -> None:
    assert all(isinstance(value, str) for value in backend.describe().values())


@pytest.mark.parametrize(
    "backend",
    ["torch", "tensorflow", *(pytest.param(way, marks=pytest.mark.slow) for way in ("jax", "xla"))],
    indirect=True,
)
def test_resnet20_agrees_with_the_reference_to_1e_12(backend: Backend) -> None:
    graph = build("resnet20", image=(3, 12, 12))
    arrays = initialize(graph, 3)
    rng = np.random.default_rng(4)
    batch = {"image": rng.normal(size=(4, 3, 12, 12)), "targets": np.array([3, 0, 9, 3])}
    reference = load_backend("numpy")
    whole = []
    for runner, mode in ((reference, "reference"), (backend, backend.tested_mode)):
        chosen = ProgramOptions(mode, precision("float64"), training=True)
        forward = runner.compile_forward(graph, ProgramOptions(mode, precision("float64")))
        forward.load(*split_state(graph, arrays))
        named = {"logits": forward.download(forward.run(forward.upload(batch))).outputs["logits"]}
        gradient = runner.compile_gradient(graph, chosen, CrossEntropy())
        gradient.load(*split_state(graph, arrays))
        found = gradient.download(gradient.run(gradient.upload(batch)))
        named |= {f"gradient of {name}": value for name, value in {**found.weights, **found.inputs}.items()}
        step = runner.compile_step(graph, chosen, CrossEntropy(), SGD(weight_decay=1e-4, nesterov=True))
        step.load(*split_state(graph, arrays))
        operands = step.upload(batch)
        named["losses"] = np.array([step.loss(step.run(operands, 0.01)) for _ in range(2)])
        after = step.snapshot()
        whole.append(named | {f"after {name}": value for name, value in {**after.weights, **after.state}.items()})
    assert worst(whole[1], whole[0])[0] < 1e-12, worst(whole[1], whole[0])


def test_masks_follow_the_layout(backend: Backend) -> None:
    builder = Builder("drop")
    x = builder.add("conv", L.Conv(out_channels=3, kernel_size=1), builder.input("x", (2, 4, 5)))
    graph = builder.build(builder.add("drop", L.Dropout(p=0.5), x))
    drawn = draw(graph, "masks")
    found = [
        results(backend, graph, options(backend, training=True, layout=layout), drawn)
        for layout in ("auto", *backend_plugin(backend.name).layouts)
    ]
    assert len(found) > 1
    assert max(worst(other, found[0])[0] for other in found[1:]) < 1e-14
    dropped = drawn.batch["drop.mask"] == 0
    assert dropped.any()
    assert np.array_equal(found[0]["output output"] == 0, dropped)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda name: pickle.loads(pickle.dumps(name))],
    ids=("copy", "deep copy", "pickle"),
)
def test_names_of_slots_keep_their_parts_in_copies(again):
    name = SlotName("fc.bias", "momentum", "generator")
    found = again(name)
    assert found == name == "generator/fc.bias/momentum"
    assert (found.weight, found.slot, found.phase) == ("fc.bias", "momentum", "generator")
    assert SlotName.read(SlotName("fc.bias", "momentum")).weight == "fc.bias"
