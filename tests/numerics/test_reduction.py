"""Reduction: the smallest network, by shapes and fields and values, that still fails."""

from __future__ import annotations

import numpy as np

from cnnbench.numerics.reduction import cut_name, reduce
from cnnbench.numerics.value_reduction import reduce_values
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add, Conv, GlobalAvgPool, Linear, MaxPool, ReLU
from cnnbench.spec.layers.indexing import Split


def network() -> Graph:
    b = Builder("whole")
    x = b.input("image", (6, 12, 12))
    for i in range(4):
        x = b.add(f"conv{i}", Conv(out_channels=6, kernel_size=3, padding=1), x)
        x = b.add(f"relu{i}", ReLU(), x)
    first, second = b.add_all("split", Split(sizes=(3, 3)), x)
    wrong = b.add("wrong", Conv(out_channels=4, kernel_size=3, stride=(2, 1), padding=((0, 2), (1, 1))), second)
    pooled = b.add("pool", MaxPool(kernel_size=2), first)
    logits = b.add("fc", Linear(out_features=5), b.add("mean", GlobalAvgPool(), wrong))
    return b.build({"logits": logits, "pooled": pooled})


def uneven(graph: Graph) -> bool:
    """A fault of convolutions that pad unevenly."""
    return any(
        node.layer.kind == "conv" and any(begin != end for begin, end in node.layer.padding) for node in graph.nodes
    )


def test_one_node_is_left_with_its_cause_and_nothing_else():
    found = reduce(network(), uneven)
    (node,) = found.nodes
    assert node.name == "wrong"
    assert node.inputs == (cut_name("split:1"),)
    assert uneven(found)
    layer = node.layer
    assert (layer.kernel_size, layer.stride, layer.out_channels, layer.bias) == ((1, 1), (1, 1), 1, False)
    assert sum(begin != end for begin, end in layer.padding) == 1
    assert found.inputs[0].shape == (1, 1, 1)


def test_a_failure_of_two_nodes_keeps_both():
    def both(graph: Graph) -> bool:
        kinds = [node.layer.kind for node in graph.nodes]
        fed = {value for node in graph.nodes if node.layer.kind == "linear" for value in node.inputs}
        return "linear" in kinds and any(n.layer.kind == "global_avg_pool" and n.name in fed for n in graph.nodes)

    assert [node.layer.kind for node in reduce(network(), both).nodes] == ["global_avg_pool", "linear"]


def test_the_number_of_tries_is_a_limit():
    asked = []

    def never(graph: Graph) -> bool:
        asked.append(graph.digest)
        return False

    assert reduce(network(), never, tries=7).digest == network().digest
    assert len(asked) == 7 == len(set(asked))


def test_shared_weights_go_to_the_first_that_is_left():
    b = Builder("shared")
    x = b.input("image", (3, 5, 5))
    first = b.add("first", Conv(out_channels=3, kernel_size=1), x)
    second = b.add("second", Conv(out_channels=3, kernel_size=1), first, weights_of="first")
    graph = b.build(b.add("sum", Add(), first, second))
    found = reduce(graph, lambda part: any(node.name == "second" for node in part.nodes))
    assert [(node.name, node.weights_of) for node in found.nodes] == [("second", None)]


def test_values_become_plain():
    arrays = {"x": np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32), "index": np.arange(3)}
    found = reduce_values(arrays, lambda given: bool(given["x"][2, 5] != 0))
    assert np.count_nonzero(found["x"]) == 1
    assert np.array_equal(found["index"], np.arange(3))
