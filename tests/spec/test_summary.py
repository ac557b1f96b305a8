"""Summaries: counts by part, receptive fields by tracing what an output depends on, and the JSON contract."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbench.registry import architecture, build
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    ReLU,
    Softmax,
)
from cnnbench.spec.summary import summarize

KEYS = {
    *("name", "parameters", "buffers", "macs", "macs_attention", "input", "output", "source", "nodes"),
    "parameters_inference",
}
NODE_KEYS = {"name", "kind", "inputs", "output_shape", "parameters", "macs", "receptive_field"}


def field(graph, name):
    return {node.name: node.receptive_field for node in summarize(graph).nodes}[name]


windows = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2))


@given(st.lists(windows, min_size=1, max_size=4))
def test_the_field_of_a_chain_is_what_an_inner_output_depends_on(chain):
    """Each position's set of input positions is carried through the windows and measured."""
    size = 400
    b = Builder("chain")
    x = b.input("signal", (1, size))
    sees = [{i} for i in range(size)]
    for index, (kernel, stride, dilation) in enumerate(chain):
        x = b.add(f"conv{index}", Conv(out_channels=1, kernel_size=kernel, stride=stride, dilation=dilation), x)
        starts = range(0, len(sees) - dilation * (kernel - 1), stride)
        sees = [set().union(*(sees[start + k * dilation] for k in range(kernel))) for start in starts]
    middle = sees[len(sees) // 2]
    assert field(b.build(x), f"conv{len(chain) - 1}") == (max(middle) - min(middle) + 1,)


def test_each_axis_has_its_own_field():
    b = Builder("net")
    x = b.add("conv", Conv(out_channels=2, kernel_size=(1, 7), padding="same"), b.input("image", (3, 32, 32)))
    x = b.add("pool", AvgPool(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0)), x)
    graph = b.build(b.add("last", Conv(out_channels=2, kernel_size=3), x))
    assert field(graph, "last") == (1 + 2 + 2 * 2, 1 + 6 + 1 + 2)


def test_three_3x3_see_what_one_7x7_sees():
    b = Builder("net")
    image = x = b.input("image", (3, 32, 32))
    for index in range(3):
        x = b.add(f"conv{index}", Conv(out_channels=3, kernel_size=3), x)
    graph = b.build([x, b.add("seven", Conv(out_channels=3, kernel_size=7), image)])
    assert field(graph, "conv2") == field(graph, "seven") == (7, 7)


def test_where_paths_merge_the_widest_counts():
    b = Builder("net")
    x = b.input("image", (3, 16, 16))
    y = b.add("relu", ReLU(), b.add("conv", Conv(out_channels=3, kernel_size=5, padding=2), x))
    graph = b.build(b.add("add", Add(), x, y))
    assert field(graph, "add") == (5, 5)


def test_parts_of_a_composite_widen_the_field():
    b = Builder("net")
    x = b.add("s2", TrainableSubsample(kernel_size=2), b.input("image", (1, 8, 8)))
    graph = b.build(b.add("conv", Conv(out_channels=1, kernel_size=3), x))
    assert (field(graph, "s2"), field(graph, "conv")) == ((2, 2), (6, 6))


def test_adaptive_pooling_sees_its_largest_window():
    b = Builder("net")
    x = b.input("image", (1, 8, 7))
    graph = b.build(b.add("pool", AdaptiveAvgPool(output_size=(4, 3)), x))
    assert field(graph, "pool") == (2, 3)  # 7 positions into 3: [0, 3), [2, 5), [4, 7)


@pytest.mark.parametrize("layer", [GlobalAvgPool(), AdaptiveAvgPool(output_size=1)], ids=["global", "adaptive to one"])
def test_global_pooling_sees_all_and_so_does_what_follows(layer):
    b = Builder("net")
    x = b.add("pool", layer, b.input("image", (3, 16, 16)))
    graph = b.build(b.add("after", ReLU(), x))
    assert field(graph, "pool") is None
    assert field(graph, "after") is None


def test_flattening_moves_values_and_a_linear_layer_sees_all():
    b = Builder("net")
    x = b.add("flat", Flatten(), b.add("pool", MaxPool(kernel_size=2), b.input("image", (3, 4, 4))))
    graph = b.build(b.add("soft", Softmax(), b.add("fc", Linear(out_features=2), x)))
    assert [field(graph, name) for name in ("pool", "flat", "fc", "soft")] == [(2, 2), (2, 2), None, None]


def test_auxiliary_outputs_count_as_parameters_but_not_for_inference():
    b = Builder("net")
    x = b.add("conv", Conv(out_channels=4, kernel_size=3), b.input("image", (3, 8, 8)))
    pooled = b.add("pool", GlobalAvgPool(), x)
    main = b.add("fc", Linear(out_features=10), pooled)
    aux = b.add("aux_fc", Linear(out_features=10), pooled)
    summary = summarize(b.build({"logits": main, "aux1": aux}))
    assert summary.parameters == 112 + 50 + 50
    assert summary.parameters_inference == 112 + 50
    assert summary.macs == 6 * 6 * 4 * 27 + 40
    assert summary.outputs == {"logits": (10,), "aux1": (10,)}


def test_fixed_weights_are_buffers():
    nodes = {node.name: node for node in summarize(build("lenet5_1998")).nodes}
    assert (nodes["output"].parameters, nodes["output"].buffers) == (0, 840)


@pytest.mark.parametrize("name", ["resnet50", "lenet5_1998", "simple_cnn"])
def test_the_json_contract(name):
    found = architecture(name)
    data = json.loads(json.dumps(summarize(build(name)).to_json(found), allow_nan=False))
    assert data.keys() >= KEYS
    assert all(node.keys() >= NODE_KEYS for node in data["nodes"])
    assert data["input"] == list(found.facts.input)
    assert data["output"] == [found.num_classes]
    assert data["source"] == found.source
    assert data["parameters_inference"] == data["parameters"] == sum(node["parameters"] for node in data["nodes"])
    assert data["macs"] == sum(node["macs"] for node in data["nodes"])
    assert data["macs_attention"] == 0


def test_a_network_that_is_not_registered_has_all_keys_too():
    b = Builder("mine")
    data = summarize(b.build(b.add("relu", ReLU(), b.input("image", (3, 8, 8))))).to_json()
    assert data.keys() >= KEYS
    assert data["source"] is None


def test_convolution_macs_count_every_product_of_the_definition():
    b = Builder("net")
    x = b.input("image", (4, 5, 6))
    graph = b.build(b.add("conv", Conv(out_channels=6, kernel_size=(3, 2), groups=2, stride=2, padding=1), x))
    _, channels, *out = graph.shapes()["conv"]
    products = sum(1 for _ in np.ndindex(channels, *out, 4 // 2, 3, 2))
    assert summarize(graph).macs == products
