"""Networks whose outputs hold images elsewhere than in their first axis, hold one number, or move integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import OpResult
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.detection import RoIMaxPool
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Flatten, Reshape, Tile

BATCH = 5


def boxes() -> tuple[Graph, dict]:
    b = Builder("boxes")
    features, rows = b.input("image", (2, 6, 6)), b.input("boxes", (3, 4), batched=False)
    which = b.input("which", (3,), dtype="int", batched=False)
    graph = b.build(b.add("pool", RoIMaxPool(output_size=2), features, rows, which))
    given = {"boxes": np.array([[0, 0, 3, 3], [1, 2, 5, 5], [2, 0, 4, 5]], np.float32), "which": np.array([4, 0, 2])}
    return graph, given


def joined() -> tuple[Graph, dict]:
    b = Builder("joined")
    return b.build(b.add("flatten", Flatten(start_axis=0), b.input("image", (2, 6, 6)))), {}


def one_number() -> tuple[Graph, dict]:
    b = Builder("number")
    whole = b.add("double", Affine(scale=2.5), b.input("number", (), batched=False))
    shifted = b.add("shift", Affine(shift=0.3), b.input("image", (2, 6, 6)))
    return b.build([whole, shifted]), {"number": np.asarray(0.7, np.float32)}


def integers() -> tuple[Graph, dict]:
    b = Builder("integers")
    tiled = b.add("tile", Tile(repeats=(2,)), b.input("index", (3,), dtype="int"))
    shifted = b.add("shift", Affine(shift=0.3), b.input("image", (2, 6, 6)))
    return b.build([shifted, tiled]), {"index": np.arange(3 * BATCH).reshape(BATCH, 3)}


def images_last() -> tuple[Graph, dict]:
    b = Builder("last")
    turned = b.add("turned", Reshape(shape=(1, 72, -1), whole=True), b.input("image", (2, 6, 6)))
    return b.build(b.add("slice", Slice(starts=(1,), ends=(5,), axes=(1,)), turned)), {}


@pytest.mark.parametrize("made", [boxes, joined, one_number, integers, images_last])
def test_a_right_backend_passes(made):
    graph, given = made()
    image = np.random.default_rng(0).normal(size=(BATCH, 2, 6, 6)).astype(np.float32)
    batch = {item.name: {"image": image, **given}[item.name] for item in graph.inputs}
    case = Case(graph, {}, batch, ProgramOptions("fast", precision("float32")))
    outcomes = run_checks(("local", "end_to_end", "gradient"), InProcessSubject(loaded_backend("numpy")), case)
    assert [item.message for item in outcomes if item.status == "failed"] == []
    assert [item.status for item in outcomes][:2] == ["passed", "passed"]


def test_a_sum_of_another_order_is_within_the_envelope_of_one_number():
    b = Builder("loss")
    layer = Reduce(function="sum", axes=(0, 1, 2, 3), keepdims=False)
    graph = b.build(b.add("sum", layer, b.input("image", (4, 20, 20))))
    assert graph.shapes(BATCH)["sum"] == ()
    backend = load_backend("numpy")

    def in_turn(layer, inputs, weights, state, call):
        total = np.float32(0)
        for value in inputs[0].reshape(-1):
            total += value
        return OpResult((np.asarray(total),))

    operation = backend.operations["reduce"]
    backend.operations = backend.operations.replace("reduce", replace(operation, forward=in_turn))
    image = np.abs(np.random.default_rng(0).normal(size=(BATCH, 4, 20, 20))).astype(np.float32)
    case = Case(graph, {}, {"image": image}, ProgramOptions("reference", precision("float32")))
    (outcome,) = run_checks(("end_to_end",), InProcessSubject(backend), case)
    assert outcome.status == "passed", outcome.message
    assert outcome.budget_used is not None
    assert outcome.budget_used > 0


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_sums_of_single_numbers_are_computed(layout):
    b = Builder("numbers")
    first, second = b.input("first", (), batched=False), b.input("second", (), batched=False)
    graph = b.build(b.add("sum", Add(), first, second, second))
    batch = {"first": np.asarray(1.5, np.float32), "second": np.asarray(2.0, np.float32)}
    options = ProgramOptions("fast", precision("float32"), layout)
    found = InProcessSubject(loaded_backend("numpy")).forward(graph, {}, batch, options).outputs["output"]
    assert (found.shape, float(found)) == ((), 5.5)
