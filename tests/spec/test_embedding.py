"""A network that is put into another graph: under a prefix, and twice with the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add, BatchNorm, Conv, ReLU
from cnnbench.spec.weights import initialize


def network() -> Graph:
    b = Builder("part")
    x = b.add("conv", Conv(out_channels=2, kernel_size=3, padding=1), b.input("image", (2, 4, 4)))
    x = b.add("norm", BatchNorm(momentum=0.25), x)
    x = b.add("again", Conv(out_channels=2, kernel_size=3, padding=1), x, weights_of="conv")
    return b.build({"map": b.add("relu", ReLU(), x)})


def twice() -> Graph:
    b = Builder("both")
    first, second = b.input("first", (2, 4, 4)), b.input("second", (2, 4, 4))
    with b.scope("outer"):
        x = b.embed("net", network(), {"image": first})["map"]
        y = b.embed("same", network(), {"image": second}, weights_of="outer.net")["map"]
    return b.build({"x": x, "y": y, "sum": b.add("sum", Add(), x, y)})


def run(graph: Graph, arrays, batch):
    options = ProgramOptions("reference", precision("float64"), training=True)
    return InProcessSubject(load_backend("numpy")).forward(graph, arrays, batch, options)


def test_two_applications_share_weights_and_move_the_statistics_in_turn():
    alone = initialize(network(), 0)
    arrays = {f"outer.net.{name}": array for name, array in alone.items()}
    assert {spec.name for spec in (*twice().named_weights(), *twice().named_state())} == set(arrays)
    draw = np.random.default_rng(0)
    batch = {name: draw.normal(size=(3, 2, 4, 4)) for name in ("first", "second")}
    found = run(twice(), arrays, batch)
    first = run(network(), alone, {"image": batch["first"]})
    second = run(network(), {**alone, **first.state}, {"image": batch["second"]})
    np.testing.assert_array_equal(found.outputs["x"], first.outputs["map"])
    np.testing.assert_array_equal(found.outputs["y"], second.outputs["map"])
    for name, value in second.state.items():
        np.testing.assert_array_equal(found.state[f"outer.net.{name}"], value)


def test_inputs_that_do_not_fit_are_refused():
    b = Builder("wrong")
    x = b.input("x", (3, 4, 4))
    with pytest.raises(SpecError, match="part does not take these inputs"):
        b.embed("net", network(), {"image": x})
    with pytest.raises(SpecError, match="part does not take these inputs"):
        b.embed("net", network(), {"picture": x})
    y = b.input("y", (2, 4, 4))
    with pytest.raises(SpecError, match=r"weights_of names no earlier node: 'other\.conv'"):
        b.embed("net", network(), {"image": y}, weights_of="other")
