"""Weights that several nodes use, on every backend: held by copies, by arithmetic and by PyTorch's own modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from shared_networks import (
    NETWORKS,
    copied,
    general_arrays,
    general_batch,
    owners,
    siamese,
    summed,
    twice_normalised,
    unshared,
)

from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.passes import lower
from cnnbench.spec.weights import split_state

Arrays = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Following(L.ChannelAffine):
    """An affine map in whichever layout its operand has; no kind of the core both follows and has weights."""

    layout_rule = "follow"


MODES = {
    "numpy": ("reference", "fast"),
    "torch": ("eager", "compile"),
    "jax": ("jit",),
    "tensorflow": ("graph", "xla"),
}
COMPILED = {"compile": "recurrence", "xla": "siamese"}  # for the time that compiling takes, one stands for all
RATE = 0.05
RULE = SGD(momentum=0.9, nesterov=True, weight_decay=0.02, decay="kernels")
_LOADED: dict[str, Backend] = {}


def _loaded(name: str) -> Backend:
    if name != "numpy" and importlib.util.find_spec(backend_plugin(name).requires[0]) is None:
        pytest.skip(f"{name} is not installed")
    if name not in _LOADED:
        _LOADED[name] = load_backend(name)
        _LOADED[name].configure(ProcessSettings(threads=2))  # as in every test: TensorFlow takes it once
    return _LOADED[name]


def _way(name: str, mode: str, *others: str, slow: bool = False) -> Any:
    marks = [] if name == "numpy" else [getattr(pytest.mark, name)]
    marks += [pytest.mark.slow] if slow else []
    return pytest.param((name, mode), *others, marks=marks, id="-".join((name, mode, *others)))


WAYS = [_way(name, mode, slow=mode == "compile") for name, modes in MODES.items() for mode in modes]
every_way = pytest.mark.parametrize("way", WAYS, indirect=True)


def every_network(compiled: Iterable[str] = ("xla",)) -> pytest.MarkDecorator:
    """Each way with each network; of the modes that compile, ``compiled`` hold one network in the quick tests.

    PyTorch takes 8 s for its first compiled program, and 30 s for one with convolutions, so the step of the recurrence,
    whose program does all that the others do, stands for them.
    """
    ways = [
        _way(name, mode, network, slow=mode in COMPILED and (network != COMPILED[mode] or mode not in compiled))
        for name, modes in MODES.items()
        for mode in modes
        for network in NETWORKS
    ]
    return pytest.mark.parametrize(("way", "network"), ways, indirect=["way"])


@pytest.fixture
def way(request: pytest.FixtureRequest) -> tuple[Backend, ProgramOptions]:
    name, mode = request.param
    return _loaded(name), ProgramOptions(mode, precision("float32" if mode == "fast" else "float64"))


def close(found: Arrays, expected: Arrays, options: ProgramOptions) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        limit = 2e-5 if options.precision.name == "float32" else 1e-11
        scale = max(1.0, float(np.abs(array).max(initial=0)))
        np.testing.assert_allclose(found[name], array, rtol=0, atol=limit * scale, err_msg=name)


def forward(backend: Backend, options: ProgramOptions, graph: Graph, arrays: Arrays) -> Any:
    program = backend.compile_forward(graph, options)
    program.load(*split_state(graph, arrays))
    return program.download(program.run(program.upload(general_batch(graph))))


def gradient(backend: Backend, options: ProgramOptions, graph: Graph, arrays: Arrays) -> Any:
    program = backend.compile_gradient(graph, replace(options, training=True), CrossEntropy())
    program.load(*split_state(graph, arrays))
    return program.download(program.run(program.upload(general_batch(graph))))


def reference(training: bool = False) -> tuple[Backend, ProgramOptions]:
    return _loaded("numpy"), ProgramOptions("reference", precision("float64"), training=training)


def in_sequence(graph: Graph, before: Arrays, copies: Arrays) -> Arrays:
    """Running statistics after each use updated them in turn, from what each use alone makes of the same start.

    One use gives (1 - m) old + m s; s is recovered from it and applied again in the order of the uses.
    """
    after = {name: np.asarray(array, np.float64) for name, array in before.items()}
    for copy, owner in owners(graph).items():
        if copy in copies:
            momentum = lower(graph).node(copy.rpartition(".")[0]).layer.momentum  # type: ignore[attr-defined]
            start = np.asarray(before[owner], np.float64)
            statistic = (copies[copy] - (1 - momentum) * start) / momentum
            after[owner] = (1 - momentum) * after[owner] + momentum * statistic
    return after


@every_network()
def test_the_outputs_are_those_of_copies(way: tuple[Backend, ProgramOptions], network: str) -> None:
    graph = NETWORKS[network]()
    arrays = general_arrays(graph)
    found = forward(*way, graph, arrays).outputs
    close(found, forward(*reference(), unshared(graph), copied(graph, arrays)).outputs, way[1])


@every_network()
def test_a_gradient_is_the_sum_of_those_of_the_copies(way: tuple[Backend, ProgramOptions], network: str) -> None:
    graph = NETWORKS[network]()
    arrays = general_arrays(graph)
    expected = gradient(*reference(), unshared(graph), copied(graph, arrays))
    found = gradient(*way, graph, arrays)
    close(found.weights, summed(graph, expected.weights), way[1])
    close(found.inputs, expected.inputs, way[1])
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)


@every_network(COMPILED)
def test_a_step_moves_a_shared_weight_once(way: tuple[Backend, ProgramOptions], network: str) -> None:
    graph = NETWORKS[network]()
    start = general_arrays(graph)
    weights, state = split_state(graph, start)
    program = way[0].compile_step(graph, replace(way[1], training=True), CrossEntropy(), RULE)
    program.load(weights, state)
    expected: Arrays = {key: array.astype(np.float64) for key, array in start.items()}
    velocity = dict.fromkeys(weights, 0.0)
    batch = general_batch(graph)
    for _ in range(2):
        program.run(program.upload(batch), RATE)
        copies = gradient(*reference(), unshared(graph), copied(graph, expected))
        moved = in_sequence(graph, {key: expected[key] for key in state}, copies.state)
        for key, total in summed(graph, copies.weights).items():
            decay = RULE.weight_decay * expected[key] if expected[key].ndim > 1 else 0.0
            velocity[key] = RULE.momentum * velocity[key] + total + decay
            moved[key] = expected[key] - RATE * (total + decay + RULE.momentum * velocity[key])
        expected |= moved
    found = program.snapshot()
    close({**found.weights, **found.state}, expected, way[1])
    assert set(found.slots) == {f"{key}/momentum" for key in velocity}


@every_way
def test_statistics_of_a_batch_norm_that_is_applied_twice_are_updated_in_turn(
    way: tuple[Backend, ProgramOptions],
) -> None:
    graph = twice_normalised()
    arrays = general_arrays(graph)
    _, state = split_state(graph, arrays)
    options = replace(way[1], training=True)
    copies = forward(*reference(training=True), unshared(graph), copied(graph, arrays))
    expected = in_sequence(graph, state, copies.state)
    close(forward(way[0], options, graph, arrays).state, expected, way[1])


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("network", ["siamese", "pyramid_head"])
@every_way
def test_folding_and_layouts_change_nothing(way: tuple[Backend, ProgramOptions], network: str, layout: Any) -> None:
    backend, options = way
    if layout not in backend_plugin(backend.name).layouts:
        pytest.skip(f"{backend.name} has no {layout}")
    graph = NETWORKS[network]()
    arrays = general_arrays(graph)
    expected = forward(*reference(), unshared(graph), copied(graph, arrays)).outputs
    close(
        forward(backend, replace(options, layout=layout, fold_batch_norm=True), graph, arrays).outputs,
        expected,
        options,
    )


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@every_way
def test_uses_in_other_layouts_share_one_native_array(way: tuple[Backend, ProgramOptions], layout: Any) -> None:
    """A layer with weights that follows its operand, at one place the canonical input, at another a held image."""
    backend, options = way
    if "channels_first" not in backend_plugin(backend.name).layouts:
        pytest.skip(f"the affine map of {backend.name} takes images channels-last only")
    b = Builder("layouts")
    x = b.input("image", (4, 5, 6))
    plain = b.add("plain", Following(), x)
    held = b.add("conv", L.Conv(out_channels=4, kernel_size=3, padding=1), plain)
    both = b.add("both", L.Add(), b.add("late", Following(), held, weights_of="plain"), held)
    graph = b.build(b.add("fc", L.Linear(out_features=3), b.add("pool", L.GlobalAvgPool(), both)))
    arrays = general_arrays(graph)
    expected = gradient(*reference(), unshared(graph), copied(graph, arrays))
    close(
        gradient(backend, replace(options, layout=layout), graph, arrays).weights,
        summed(graph, expected.weights),
        options,
    )


@pytest.mark.torch
def test_pytorch_applies_one_module_twice_in_the_same_way() -> None:
    torch = pytest.importorskip("torch")
    graph = siamese()
    arrays = general_arrays(graph)

    class Siamese(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
            self.norm = torch.nn.BatchNorm2d(4)
            self.embed = torch.nn.Linear(4, 5)
            self.classify = torch.nn.Linear(5, 3)

        def branch(self, x: Any) -> Any:
            return self.embed(torch.relu(self.norm(self.conv(x))).mean((2, 3)))

        def forward(self, left: Any, right: Any) -> Any:
            return self.classify(self.branch(left) - self.branch(right))

    module = Siamese().double().train()
    names = {key: key.removeprefix("left_branch.") for key in arrays}
    tensors = {names[key]: torch.tensor(array, dtype=torch.float64) for key, array in arrays.items()}
    module.load_state_dict(tensors, strict=False)
    assert sum(p.numel() for p in module.parameters()) == sum(
        int(np.prod(spec.shape)) for spec in graph.named_weights()
    )
    rule = torch.optim.SGD(module.parameters(), lr=RATE, momentum=0.9, weight_decay=0.02)
    batch = general_batch(graph)
    left, right = (torch.tensor(batch[side], dtype=torch.float64) for side in ("left", "right"))
    for _ in range(2):
        rule.zero_grad()
        torch.nn.functional.cross_entropy(module(left, right), torch.tensor(batch["targets"])).backward()
        rule.step()
    backend, options = reference(training=True)
    program = backend.compile_step(graph, options, CrossEntropy(), SGD(momentum=0.9, weight_decay=0.02))
    program.load(*split_state(graph, arrays))
    for _ in range(2):
        program.run(program.upload(batch), RATE)
    found = program.snapshot()
    expected = {key: module.state_dict()[name].numpy() for key, name in names.items()}
    close({**found.weights, **found.state}, expected, options)
