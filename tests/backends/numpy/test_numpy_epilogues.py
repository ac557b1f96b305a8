"""The fast mode's activations and depthwise products against definitions in float64."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from cnnbench_numpy.backend import NumpyBackend
from cnnbench_numpy.fast.activation import IN_PLACE, STRETCH, activate
from cnnbench_numpy.fast.conv import ConvGeometry
from cnnbench_numpy.fast.depthwise import Depthwise

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, Linear, Sigmoid
from cnnbench.spec.layers.rectifier import ReLU6
from cnnbench.spec.layers.smooth import GELU, SiLU
from cnnbench.spec.weights import initialize, split_state


def logistic(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


DEFINITIONS = {
    "relu6": (ReLU6(), lambda x: min(max(x, 0.0), 6.0)),
    "sigmoid": (Sigmoid(), logistic),
    "silu": (SiLU(), lambda x: x * logistic(x)),
    "gelu": (GELU(), lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2))),
}
ROUNDINGS = {"relu6": 0, "sigmoid": 8, "silu": 8, "gelu": 8}


def test_every_activation_in_place_has_a_definition_here():
    assert set(DEFINITIONS) == set(IN_PLACE)


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_an_activation_in_place_is_its_definition(kind):
    """Within some roundings of |y| + |x y'|: what the rounding of the argument's multiple moves is admitted."""
    layer, definition = DEFINITIONS[kind]
    x = np.concatenate([np.linspace(-30, 30, 2 * STRETCH + 7), [-1e4, -85, 85, 1e4, 0.0]]).astype(np.float32)
    found = x.copy().reshape(-1, 1)
    activate(layer, found)
    exact = np.array([definition(float(value)) for value in x])
    conditioning = x.astype(float) ** 2 * np.abs(exact) if kind == "gelu" else 0
    budget = 2.0**-24 * (ROUNDINGS[kind] * np.abs(exact) + 2 * conditioning) + 2.0**-126
    assert (np.abs(found[:, 0] - exact) <= budget).all()


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_an_activation_passes_on_what_is_no_number(kind):
    layer, _ = DEFINITIONS[kind]
    x = np.array([[np.nan, 1.0], [np.inf, -2.0]], np.float32)
    program = _program(layer)
    with np.errstate(all="ignore"):
        activate(layer, x)
    expected = program.run(program.upload({"x": np.array([[np.nan, 1.0], [np.inf, -2.0]])})).outputs[0]
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def _program(layer):
    b = Builder("activation")
    graph = b.build(b.add("act", layer, b.input("x", (2,))))
    program = NumpyBackend().compile_forward(graph, ProgramOptions("reference", precision("float32")))
    program.load({}, {})
    return program


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_an_activation_is_taken_in_by_the_product_before_it(kind):
    """Also where the block is a part of the columns, which do not lie one after another."""
    layer, definition = DEFINITIONS[kind]
    b = Builder("product")
    graph = b.build(b.add("act", layer, b.add("fc", Linear(out_features=6), b.input("x", (3,)))))
    program = NumpyBackend().compile_forward(graph, ProgramOptions("fast", precision("float32")))
    weight, bias = np.arange(18.0).reshape(6, 3) / 9 - 1, np.linspace(-3, 3, 6)
    program.load({"fc.weight": weight, "fc.bias": bias}, {})
    x = np.linspace(-4, 4, 12).reshape(4, 3)
    found = program.download(program.run(program.upload({"x": x}))).outputs["output"]
    (planned,) = program._plans.values()
    assert [step.layer.kind for step in planned.steps] == ["linear"]
    exact = np.vectorize(definition)(x @ weight.T + bias)
    np.testing.assert_allclose(found, exact, rtol=2e-5, atol=1e-6)
    part = np.array(x @ weight.T + bias, np.float32)
    activate(layer, part[:, 1:4])
    np.testing.assert_allclose(part[:, 1:4], exact[:, 1:4], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("width", [5, 6, 8])
@pytest.mark.parametrize("dilation", [1, 2])
def test_depthwise_positions_taken_as_one_give_the_same(width, dilation, monkeypatch):
    """A sum of small integers, loop by loop over indices."""
    layer = Conv(out_channels=3, kernel_size=3, padding=dilation, dilation=dilation, groups=3, bias=False)
    monkeypatch.setattr("cnnbench_numpy.fast.depthwise.STRETCH", 7)
    assert Depthwise(ConvGeometry(layer.resolve(((2, 3, 4, width),)), (2, 4, width, 3), 4)).tile in (3, 4, 5)
    b = Builder("depthwise")
    graph = b.build(b.add("conv", layer, b.input("x", (3, 4, width))))
    generator = np.random.default_rng(0)
    weight = generator.integers(-3, 4, (3, 1, 3, 3)).astype(float)
    x = generator.integers(-3, 4, (2, 3, 4, width)).astype(float)
    program = NumpyBackend().compile_forward(graph, ProgramOptions("fast", precision("float32")))
    program.load({"conv.weight": weight}, {})
    found = program.download(program.run(program.upload({"x": x}))).outputs["output"]
    padded = np.pad(x, ((0, 0), (0, 0), (dilation, dilation), (dilation, dilation)))
    expected = sum(
        padded[:, :, i * dilation : i * dilation + 4, j * dilation : j * dilation + width]
        * weight[:, 0, i, j, None, None]
        for i in range(3)
        for j in range(3)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("network", "policy"),
    [
        ("resnet18", "float32"),
        ("resnet18", "float32-winograd"),
        ("mobilenet_v2", "float32"),
        ("efficientnet_b0", "float32"),
    ],
)
def test_a_program_that_has_run_allocates_next_to_nothing(network, policy):
    """At its peak less than a twentieth of its values: outputs, and what single layers work in."""
    graph = build(network, image=(3, 96, 96))
    how = ProgramOptions("fast", precision(policy), fold_batch_norm=True)
    program = NumpyBackend().compile_forward(graph, how)
    program.load(*split_state(graph, initialize(graph, 0)))
    operands = program.upload({"image": np.random.default_rng(0).normal(size=(1, 3, 96, 96))})
    program.run(operands)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        program.run(operands)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < sum(4 * math.prod(shape) for shape in graph.shapes(1).values()) / 20
