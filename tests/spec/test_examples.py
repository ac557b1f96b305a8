"""Every layer kind shows itself: its declared example builds, runs on the reference, and a wrong one is named."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.composites import Composite
from cnnbench.spec.examples import example_graph, example_layer
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import Example, Tanh
from cnnbench.spec.weights import initialize, split_state

KINDS = {kind: cls for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_runs_on_the_reference(kind):
    graph = example_graph(KINDS[kind])
    generator = np.random.default_rng(0)
    batch = {
        item.name: generator.integers(0, 2, item.full_shape(2))
        if item.dtype == "int"
        else np.sort(generator.uniform(0.1, 1.0, item.full_shape(2)))  # as boxes: begin before end
        for item in graph.inputs
    }
    program = load_backend("numpy").compile_forward(graph, ProgramOptions("reference", precision("float64")))
    program.load(*split_state(graph, initialize(graph, 0)))
    outputs = program.download(program.run(program.upload(batch))).outputs
    shapes, values = graph.shapes(2), dict(graph.outputs)
    assert set(outputs) == set(values)
    for name, array in outputs.items():
        assert np.shape(array) == shapes[values[name]]
        assert np.isfinite(array).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_says_every_field_that_has_no_default(kind):
    layer = example_layer(KINDS[kind])
    assert layer.kind == kind
    assert math.prod(map(len, KINDS[kind].example.inputs)) < 10**6
    assert replace(layer) == layer


@dataclass(frozen=True, kw_only=True)
class Twice(Composite, kind="tanh_twice_of_examples"):
    """Shapes: any -> the same."""

    count: int = 2
    example = Example((1, 3), count=2)

    def expand(self, builder, *inputs):
        x = inputs[0]
        for number in range(self.count):
            x = builder.add(f"tanh{number}", Tanh(), x)
        return x


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (Example((1, 3), cuont=2), "unexpected keyword argument 'cuont'"),
        (Example((1, 3), (1, 3)), "the number of inputs is wrong"),
        (Example((1, 3), count="many"), "count is not valid"),
    ],
)
def test_a_wrong_example_is_named_with_its_kind_and_the_remedy(monkeypatch, example, reason):
    monkeypatch.setattr(Twice, "example", example)
    with pytest.raises(SpecError) as caught:
        example_graph(Twice)
    assert "the example of kind 'tanh_twice_of_examples' is not valid" in str(caught.value)
    assert reason in str(caught.value)
    assert "declare example = Example(shape, ..., field=...) in Twice" in str(caught.value)
