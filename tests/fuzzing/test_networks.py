"""DrawnCase networks: valid, the same each time, and of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.fuzzing.choices import Choices
from cnnbench.fuzzing.coverage import added, classes_of, kinds_seen, value_class
from cnnbench.fuzzing.fields import draw_layer
from cnnbench.fuzzing.network import draw_network, fuzzed_kinds, kinds_in_turn
from cnnbench.fuzzing.values import all_values, draw_case
from cnnbench.registry import layer_kinds
from cnnbench.spec.layers.loss import NLLLoss
from cnnbench.spec.serialization import graph_from_json

NETWORKS = 200


@pytest.fixture(scope="module")
def networks():
    return [draw_network(0, number) for number in range(NETWORKS)]


def test_every_network_is_valid_for_any_number_of_images(networks):
    for network in networks:
        assert network.graph.nodes
        for batch in (1, 2, 4):
            assert set(network.graph.shapes(batch)) >= {value for _, value in network.graph.outputs}
        assert graph_from_json(network.graph.to_json()).digest == network.graph.digest


def test_a_network_depends_on_its_seed_and_number_alone(networks):
    again = [draw_network(0, number).graph.digest for number in (150, 3)]
    assert again == [networks[150].graph.digest, networks[3].graph.digest]
    assert draw_network(1, 3).graph.digest != networks[3].graph.digest


def test_every_kind_is_drawn(networks):
    found = {node.layer.kind for network in networks for node in network.graph.nodes}
    shipped = {kind for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}
    assert shipped <= set(fuzzed_kinds())
    assert set(fuzzed_kinds()) <= found


def test_kinds_come_in_turn():
    every = len(fuzzed_kinds())
    in_turn = [kind for number in range(every) for kind in kinds_in_turn(5, number)]
    assert {in_turn.count(kind) for kind in fuzzed_kinds()} == {3}


def test_networks_branch_and_share_weights_and_have_several_inputs_and_outputs(networks):
    graphs = [network.graph for network in networks]
    assert any(len(graph.inputs) > 1 and len(graph.outputs) > 1 for graph in graphs)
    assert any(graph.sharing for graph in graphs)
    assert any(len(readers) > 1 for graph in graphs for readers in graph.consumers().values())
    ranks = {len(shape) for graph in graphs for shape in graph.shapes().values()}
    assert ranks >= {2, 3, 4, 5}
    assert {"float", "int"} <= {dtype for graph in graphs for dtype in graph.dtypes.values()}


def test_values_stay_in_the_range_of_numbers(networks):
    policies, sizes = set(), set()
    for network in networks[:25]:
        drawn = draw_case(network)
        if drawn is None:
            continue
        policies.add(drawn.case.policy.name)
        sizes.add(drawn.case.size)
        assert all(np.isfinite(value).all() for value in all_values(drawn.case).values())
        again = draw_case(network)
        assert again is not None
        assert all(np.array_equal(drawn.case.batch[name], again.case.batch[name]) for name in drawn.case.batch)
    assert len(policies) >= 3
    assert len(sizes) >= 3


def test_a_layer_s_own_data_fits_its_fields():
    """Targets are drawn with the class that their layer ignores; a layer that ignores another would read beyond."""
    base = {"ignore_index": -1, "label_smoothing": 0.2}
    drawn = [draw_layer(NLLLoss, base, ((1, 6, 4), (1, 4)), Choices(np.random.default_rng(n))) for n in range(50)]
    assert {layer.ignore_index for layer in drawn if layer is not None} == {-1}


def test_classes_are_counted(networks):
    drawn = draw_case(networks[0])
    assert drawn is not None
    counts = added(added({}, classes_of(drawn.case)), classes_of(drawn.case))
    node = drawn.case.graph.nodes[0]
    assert counts[node.layer.kind] >= 2
    assert f"{node.layer.kind} in {drawn.case.policy.name}" in counts
    assert node.layer.kind in kinds_seen(counts)
    assert [value_class(v) for v in (None, True, 7, -3, 0.25, (2, 2), (1, 2))] == [
        *("None", "True", "more", "less", "positive", "2", "differ")
    ]


def test_sums_of_quantised_values_are_kept(networks):
    held = {"integer_conv", "integer_matmul"}
    found = set()
    for network in networks:
        if held & {node.layer.kind for node in network.graph.nodes}:
            drawn = draw_case(network)
            found |= set() if drawn is None else {node.layer.kind for node in drawn.case.graph.nodes}
    assert held <= found
