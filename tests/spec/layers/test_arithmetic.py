"""Arithmetic, joining, reductions and products of activations as data: shapes, weights, counts, and what cannot be."""

from __future__ import annotations

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.kinds import layer_from_fields
from cnnbench.spec.layers import Add, Conv, GlobalAvgPool, Linear
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Parameter, Power
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Multiply, Select, Subtract
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, TopK
from cnnbench.spec.serialization import graph_from_json
from cnnbench.spec.summary import receptive_fields, summarize
from cnnbench.spec.weights import initialize

IMAGE = (2, 6, 8, 9)


@pytest.mark.parametrize(
    ("layer", "inputs", "outputs"),
    [
        (Parameter(shape=(1, 5, 3)), [], [(1, 5, 3)]),
        (Parameter(shape=()), [], [()]),
        (Elementwise(function="erf"), [IMAGE], [IMAGE]),
        (Affine(scale=2.0), [IMAGE], [IMAGE]),
        (Clip(maximum=6.0), [IMAGE], [IMAGE]),
        (Power(exponent=0.5), [IMAGE], [IMAGE]),
        (Multiply(), [IMAGE, (2, 6, 1, 1)], [IMAGE]),
        (Multiply(), [(1, 1, 8, 1), (2, 6, 1, 9), (2, 1, 1, 1)], [IMAGE]),
        (Add(broadcast=True), [(1, 6, 8, 9), IMAGE], [IMAGE]),
        (Select(), [(2, 1, 8, 9), IMAGE, (1, 1, 1, 1)], [IMAGE]),
        (Mean(), [IMAGE], [IMAGE]),
        (Reduce(function="sum"), [IMAGE], [(1, 1, 1, 1)]),
        (Reduce(function="sum", keepdims=False), [IMAGE], [()]),
        (Reduce(function="max", axes=(-1, 1)), [IMAGE], [(2, 1, 8, 1)]),
        (Reduce(function="max", axes=(-1, 1), keepdims=False), [IMAGE], [(2, 8)]),
        (Reduce(function="l2", axes=()), [IMAGE], [IMAGE]),
        (ArgReduce(function="argmin", axis=-2), [IMAGE], [(2, 6, 1, 9)]),
        (ArgReduce(function="argmax", keepdims=False), [IMAGE], [(2, 8, 9)]),
        (TopK(k=3), [IMAGE], [(2, 6, 8, 3), (2, 6, 8, 3)]),
        (TopK(k=6, axis=1), [IMAGE], [(2, 6, 8, 9), (2, 6, 8, 9)]),
        (MatMul(), [(2, 3, 4, 5), (2, 3, 5, 7)], [(2, 3, 4, 7)]),
        (MatMul(transpose_a=True), [(3, 5, 4), (5, 7)], [(3, 4, 7)]),
        (MatMul(transpose_b=True), [(1, 3, 4, 5), (2, 1, 7, 5)], [(2, 3, 4, 7)]),
        (MatMul(transpose_a=True, transpose_b=True), [(5, 4), (7, 5)], [(4, 7)]),
    ],
)
def test_shapes_follow_by_hand(layer, inputs, outputs):
    resolved = layer.resolve(tuple(inputs))
    assert resolved.output_shapes(tuple(inputs)) == tuple(outputs)


@pytest.mark.parametrize(
    ("layer", "inputs", "received", "expected"),
    [
        (Parameter(shape=(3, -1)), [], "-1", "an integer of at least 0"),
        (Parameter(shape=(3,), distribution="fan_in_uniform"), [], "0", "an integer of at least 1"),
        (Clip(), [IMAGE], "neither", "minimum, maximum or both"),
        (Multiply(), [IMAGE, (2, 6)], "(1, 6, 8, 9), (1, 6)", "equal ranks"),
        (Subtract(), [IMAGE, (2, 6, 4, 9)], "(1, 6, 4, 9)", "one size or 1"),
        (Add(), [IMAGE, (2, 6, 1, 1)], "(1, 6, 1, 1)", "equal shapes"),
        (Add(broadcast=True), [IMAGE, (2, 5, 1, 1)], "(1, 5, 1, 1)", "one size or 1"),
        (Divide(), [IMAGE], "1", "2"),
        (Select(), [IMAGE, IMAGE], "2", "3"),
        (Reduce(function="sum", axes=(4,)), [IMAGE], "4", "-4 to 3"),
        (Reduce(function="sum", axes=(1, -3)), [IMAGE], "(1, -3)", "each axis once"),
        (ArgReduce(function="argmax", axis=2), [(2, 6, 0, 9)], "(1, 6, 0, 9)", "above 0"),
        (TopK(k=0), [IMAGE], "0", "an integer of at least 1"),
        (TopK(k=10), [IMAGE], "10", "at most 9"),
        (MatMul(), [(2, 4, 5), (2, 4, 5)], "(1, 4, 5), (1, 4, 5)", "5 rows"),
        (MatMul(), [(2, 3, 4, 5), (2, 2, 5, 6)], "(1, 2)", "one size or 1"),
        (MatMul(), [(2, 4, 5), (2,)], "(1,)", "rank 2 or more"),
    ],
)
def test_an_error_names_the_node_what_was_received_and_what_is_right(layer, inputs, received, expected):
    builder = Builder("net")
    values = [builder.input(f"x{i}", shape[1:]) for i, shape in enumerate(inputs)]
    with pytest.raises(SpecError) as caught:
        builder.add("bad", layer, *values)
    assert "node 'bad'" in str(caught.value)
    assert received in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("elementwise", {"function": "gamma"}, "'erf'"),
        ("reduce", {"function": "median"}, "'log_sum_exp'"),
        ("arg_reduce", {"function": "max"}, "'argmax'"),
        ("parameter", {"shape": [2], "distribution": "cauchy"}, "'signs'"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(kind, fields, expected):
    with pytest.raises(SpecError) as caught:
        layer_from_fields(kind, fields)
    assert expected in str(caught.value)


def positioned() -> Graph:
    builder = Builder("positioned")
    x = builder.input("image", (4, 6, 6))
    x = builder.add("conv", Conv(out_channels=8, kernel_size=3, padding=1), x)
    position = builder.add("position", Parameter(shape=(1, 8, 6, 6), distribution="normal", scale=0.02))
    scale = builder.add("scale", Parameter(shape=(1, 8, 1, 1), trainable=False, distribution="constant", scale=3.0))
    x = builder.add("add", Add(broadcast=True), x, position)
    x = builder.add("times", Multiply(), scale, x)
    return builder.build(builder.add("fc", Linear(out_features=5), builder.add("pool", GlobalAvgPool(), x)))


def test_a_parameter_is_a_weight_and_a_constant_a_buffer():
    graph = positioned()
    conv = 8 * 4 * 9 + 8
    fc = 8 * 5 + 5
    summary = summarize(graph)
    assert summary.parameters == conv + 8 * 6 * 6 + fc
    assert summary.buffers == 8
    arrays = initialize(graph, 0)
    assert arrays["position.value"].std() == pytest.approx(0.02, rel=0.1)
    assert (arrays["scale.value"] == 3).all()
    assert graph.shapes(7)["times"] == (7, 8, 6, 6)
    assert graph_from_json(graph.to_json()) == graph


def test_a_parameter_does_not_widen_what_a_value_sees():
    fields = receptive_fields(positioned())
    assert fields["times"] == fields["conv"]


def test_products_of_activations_are_counted_apart():
    builder = Builder("attention")
    query, key = builder.input("query", (3, 10, 16)), builder.input("key", (3, 12, 16))
    graph = builder.build(builder.add("scores", MatMul(transpose_b=True), query, key))
    assert graph.macs(2) == 0
    assert graph.macs_attention(2) == 2 * 3 * 10 * 12 * 16


def test_positions_are_integers_and_values_are_not():
    builder = Builder("chosen")
    x = builder.input("x", (9,))
    values = builder.add_all("best", TopK(k=2), x)
    assert [value.dtype for value in values] == ["float", "int"]
    where = builder.add("where", ArgReduce(function="argmax"), x)
    assert where.dtype == "int"
    with pytest.raises(SpecError, match="wrong kind of numbers"):
        builder.add("sum", Maximum(), x, where)


def test_resolving_makes_axes_explicit():
    assert Reduce(function="sum").resolve((IMAGE,)).axes == (0, 1, 2, 3)
    assert Reduce(function="sum", axes=(-1, 1)).resolve((IMAGE,)).axes == (1, 3)
    assert ArgReduce(function="argmax", axis=-1).resolve((IMAGE,)).axis == 3
    assert TopK(k=1).resolve((IMAGE,)).axis == 3
