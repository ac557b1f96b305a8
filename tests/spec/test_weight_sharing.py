"""Nodes that use another's weights: names, errors, JSON, digest, parts, lowering, folding, counts, weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from shared_networks import (
    NETWORKS,
    composites,
    copied,
    general_arrays,
    pyramid_head,
    recurrence,
    siamese,
    twice_normalised,
    unshared,
)

from cnnbench.errors import DataError, SpecError
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.interchange.fitting import KerasArrays
from cnnbench.spec.interchange.weight_files import match
from cnnbench.spec.interchange.yaml_network import network_from_text
from cnnbench.spec.layers import Add, BatchNorm, Conv, Linear, ReLU
from cnnbench.spec.passes import fold_arrays, fold_batch_norm, foldable_batch_norms, lower
from cnnbench.spec.serialization import graph_from_json
from cnnbench.spec.summary import summarize
from cnnbench.spec.weights import initialize, split_state

IMAGE = (3, 8, 9)


def conv(**fields) -> Conv:
    return Conv(**{"out_channels": 3, "kernel_size": 3, "padding": 1, **fields})


def started() -> tuple[Builder, object]:
    """A convolution ``one.conv``, its use ``two.conv``, and a norm."""
    b = Builder("net")
    x = b.add("one.conv", conv(), b.input("image", IMAGE))
    x = b.add("two.conv", conv(), x, weights_of="one.conv")
    return b, b.add("norm", BatchNorm(), x)


# names


def test_a_shared_weight_is_named_by_its_owner_and_listed_once():
    b, x = started()
    graph = b.build(x)
    assert [spec.name for spec in graph.named_weights()] == [
        *("one.conv.weight", "one.conv.bias", "norm.weight", "norm.bias")
    ]
    assert graph.sharing == {"one.conv": ("one.conv", "two.conv")}


def test_statistics_are_listed_once():
    assert [spec.name for spec in twice_normalised().named_state()] == ["norm.running_mean", "norm.running_var"]


def test_a_chain_of_uses_leads_to_the_owner():
    graph = recurrence(steps=4)
    found = [node.weights_of for node in graph.nodes if isinstance(node.layer, Linear)]
    assert found == [None, None, "step0.linear", "step0.linear", "step0.linear", None]


def test_initial_weights_are_those_of_the_owner():
    b = Builder("net")
    alone = b.build(b.add("one.conv", conv(), b.input("image", IMAGE)))
    both, x = started()
    arrays = initialize(both.build(x), seed=3)
    for name, array in initialize(alone, seed=3).items():
        np.testing.assert_array_equal(arrays[name], array)
    assert not any(name.startswith("two") for name in arrays)


# what is refused


def test_padding_alone_may_differ():
    b, x = started()
    b.add("three.conv", conv(padding=0), x, weights_of="two.conv")


def test_same_padding_of_two_sizes_is_shared():
    """``predict`` pads 13 rows by (1, 1) and 6 rows by (0, 1)."""
    first, second = (pyramid_head().node(f"{level}.predict") for level in ("p3", "p4"))
    assert first.layer.padding != second.layer.padding
    assert second.weights_of == first.name


@pytest.mark.parametrize(
    ("layer", "name", "message"),
    [
        (conv(), "one.con", "no earlier node: 'one.con'"),
        (conv(), "image", "no earlier node: 'image'"),
        (conv(), "late", "no earlier node: 'late'"),
        (conv(stride=2), "one.conv", "whose layer differs"),
        (conv(bias=False), "one.conv", "whose layer differs"),
        (BatchNorm(), "one.conv", "another kind"),
        (BatchNorm(eps=1e-3), "norm", "whose layer differs"),
        (ReLU(), "one.conv", "relu has no weights"),
    ],
)
def test_what_cannot_be_shared_is_refused_with_the_node(layer, name, message):
    b, x = started()
    with pytest.raises(SpecError, match=message) as caught:
        b.add("late", layer, x, weights_of=name)
    assert "net: node 'late'" in str(caught.value)


def test_a_typo_gets_the_nearest_name():
    b, x = started()
    with pytest.raises(SpecError, match=r"did you mean 'one\.conv'"):
        b.add("late", conv(), x, weights_of="one.cnv")


def test_other_shapes_are_refused_with_both():
    b = Builder("net")
    x = b.add("wide", Linear(out_features=4), b.input("x", (5,)))
    with pytest.raises(SpecError, match="other shapes") as caught:
        b.add("again", Linear(out_features=4), x, weights_of="wide")
    assert "weight (4, 4)" in str(caught.value)
    assert "weight (4, 5), as 'wide' has" in str(caught.value)


def test_an_owner_that_comes_later_is_refused_in_json_too():
    b, x = started()
    data = b.build(x).to_json()
    data["nodes"][0]["weights_of"], data["nodes"][0]["name"] = "later", "first"
    data["nodes"][1]["inputs"] = ["first"]
    del data["nodes"][1]["weights_of"]
    data["nodes"][1]["name"] = "later"
    data["nodes"][2]["inputs"] = ["later"]
    with pytest.raises(SpecError, match="'later' comes later"):
        graph_from_json(data)


# JSON, digest, YAML


@pytest.mark.parametrize("name", NETWORKS)
def test_json_brings_the_same_graph_back(name):
    graph = NETWORKS[name]()
    again = graph_from_json(graph.to_json())
    assert again == graph
    assert again.digest == graph.digest != unshared(graph).digest


def test_a_graph_without_sharing_says_nothing_of_it():
    assert all("weights_of" not in node for node in unshared(siamese()).to_json()["nodes"])


def test_who_owns_changes_the_digest():
    b = Builder("net")
    x = b.input("image", IMAGE)
    for name in ("a", "b"):
        x = b.add(name, conv(), x)
    of_a, of_b = (
        replace(node, name="c", weights_of=owner, inputs=("b",))
        for node, owner in zip(b.build(x).nodes, "ab", strict=True)
    )
    graphs = [replace(b.build(x), nodes=(*b.build(x).nodes, node)) for node in (of_a, of_b)]
    assert graphs[0].digest != graphs[1].digest


YAML = """\
input: [3, 8, 9]
nodes:
  - {name: one, kind: conv, out_channels: 3, kernel_size: 3, padding: 1}
  - {name: two, kind: conv, weights_of: one, out_channels: 3, kernel_size: 3, padding: 1}
"""


def test_yaml_shares_by_weights_of():
    graph = network_from_text(YAML)
    assert graph.node("two").weights_of == "one"
    assert [spec.name for spec in graph.named_weights()] == ["one.weight", "one.bias"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weights_of: one", "weights_of: on", r"text>:4:\d+.*\n.*\n.*did you mean 'one'"),
        ("weights_of: one", "weight_of: one", r"no field 'weight_of'(.|\n)*did you mean 'weights_of'"),
        ("weights_of: one", "weights_of: 1", "weights_of is not a string"),
        ("weights_of: one, out_channels: 3", "weights_of: one, out_channels: 4", r"text>:4(.|\n)*out_channels=3"),
    ],
)
def test_yaml_refuses_with_the_place(old, new, message):
    with pytest.raises(SpecError, match=message):
        network_from_text(YAML.replace(old, new))


# parts of a graph


def test_a_prefix_keeps_the_owners_names_without_the_owner():
    graph = siamese()
    part = graph.prefix(["right_branch.embed"])
    assert not any(node.name.startswith("left") for node in part.nodes)
    assert {spec.name for spec in part.named_weights()} == {
        f"left_branch.{name}"
        for name in ("conv.weight", "conv.bias", "norm.weight", "norm.bias", "embed.weight", "embed.bias")
    }
    assert graph_from_json(part.to_json()) == part
    assert set(split_state(part, initialize(graph, 0))[1]) == {
        "left_branch.norm.running_mean", "left_branch.norm.running_var",
    }  # fmt: skip


def test_a_node_alone_has_weights_of_its_own():
    alone = siamese().single("right_branch.conv", batch=2)
    assert [spec.name for spec in alone.named_weights()] == ["right_branch.conv.weight", "right_branch.conv.bias"]


# lowering and folding


def test_a_shared_composite_becomes_parts_that_share():
    low = lower(composites())
    assert {node.name: node.weights_of for node in low.nodes if node.name.startswith("second")} == {
        "second.sum": None,
        "second.affine": "first.affine",
    }
    assert low.named_weights() == composites().named_weights()
    assert graph_from_json(low.to_json()) == low


def test_sharing_within_a_composite_is_kept():
    @dataclass(frozen=True, kw_only=True)
    class Twice(Composite):
        def expand(self, builder, *inputs):
            x = builder.add("a", Linear(out_features=5), inputs[0])
            return builder.add("b", Linear(out_features=5), x, weights_of="a")

    b = Builder("net")
    x = b.add("one", Twice(), b.input("x", (5,)))
    graph = b.build(b.add("two", Twice(), x, weights_of="one"))
    assert [spec.name for spec in graph.named_weights()] == ["one.a.weight", "one.a.bias"]
    assert [node.weights_of for node in lower(graph).nodes] == [None, "one.a", "one.a", "one.a"]


def folded_outputs(graph):
    """(outputs with folding, outputs of the copies without) on the NumPy reference."""
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.precision import precision

    arrays = general_arrays(graph)
    batch = {item.name: np.random.default_rng(0).normal(size=item.full_shape(2)) for item in graph.inputs}
    found = []
    for asked, given, fold in ((graph, arrays, True), (unshared(graph), copied(graph, arrays), False)):
        options = ProgramOptions("reference", precision("float64"), fold_batch_norm=fold)
        program = load_backend("numpy").compile_forward(asked, options)
        program.load(*split_state(asked, given))
        found.append(next(iter(program.download(program.run(program.upload(batch))).outputs.values())))
    return found


def test_a_batch_norm_shared_with_its_shared_convolution_folds_once():
    graph = siamese()
    assert foldable_batch_norms(graph) == {f"{side}_branch.norm": f"{side}_branch.conv" for side in ("left", "right")}
    folded = fold_batch_norm(graph)
    arrays = fold_arrays(graph, general_arrays(graph))
    assert set(arrays) == {spec.name for spec in folded.named_weights()}
    np.testing.assert_allclose(*folded_outputs(graph), rtol=1e-6, atol=1e-6)


def test_a_convolution_that_two_norms_follow_does_not_fold():
    graph = pyramid_head()
    assert foldable_batch_norms(graph) == {}
    np.testing.assert_allclose(*folded_outputs(graph), rtol=1e-12)


def norms_of_one_convolution(second: str) -> Graph:
    b = Builder("net")
    image = b.input("image", IMAGE)
    x = b.add("one.norm", BatchNorm(), b.add("one.conv", conv(), image))
    y = b.add("two.conv", conv(), image, weights_of="one.conv")
    if second == "norm":
        y = b.add("two.norm", BatchNorm(), y, weights_of="one.norm")
    if second == "norm read elsewhere":
        y = b.add("two.norm", BatchNorm(), y, weights_of="one.norm")
        y = b.add("more", Add(), y, "two.conv")
    return b.build(b.add("sum", Add(), x, y))


@pytest.mark.parametrize(("second", "folds"), [("norm", True), ("no norm", False), ("norm read elsewhere", False)])
def test_every_use_of_a_convolution_folds_or_none(second, folds):
    graph = norms_of_one_convolution(second)
    assert bool(foldable_batch_norms(graph)) is folds
    np.testing.assert_allclose(*folded_outputs(graph), rtol=1e-6, atol=1e-6)


def test_a_shared_norm_behind_two_convolutions_folds_into_each_and_stays_where_it_does_not():
    b = Builder("net")
    image = b.input("image", IMAGE)
    x = b.add("one.norm", BatchNorm(), b.add("one.conv", conv(), image))
    y = b.add("two.norm", BatchNorm(), b.add("two.conv", conv(), x), weights_of="one.norm")
    z = b.add("three.norm", BatchNorm(), b.add("relu", ReLU(), y), weights_of="one.norm")
    graph = b.build(z)
    assert foldable_batch_norms(graph) == {"one.norm": "one.conv", "two.norm": "two.conv"}
    arrays = fold_arrays(graph, general_arrays(graph))
    folded = fold_batch_norm(graph)
    assert set(arrays) == {spec.name for spec in (*folded.named_weights(), *folded.named_state())}
    np.testing.assert_allclose(*folded_outputs(graph), rtol=1e-6, atol=1e-6)


# counts


def test_parameters_are_counted_once():
    summary = summarize(siamese())
    shared = (4 * 3 * 9 + 4) + (4 + 4) + (5 * 4 + 5)
    assert summary.parameters == shared + (3 * 5 + 3)
    assert summary.buffers == 4 + 4
    assert sum(node.parameters for node in summary.nodes) == summary.parameters
    assert sum(node.buffers for node in summary.nodes) == summary.buffers
    assert summary.macs == summarize(unshared(siamese())).macs
    data = {node["name"]: node for node in summary.to_json()["nodes"]}
    assert data["right_branch.conv"]["weights_of"] == "left_branch.conv"
    assert data["right_branch.conv"]["parameters"] == 0
    assert data["left_branch.conv"]["weights_of"] is None


def test_weights_that_an_auxiliary_output_owns_count_at_inference_where_it_needs_them():
    b = Builder("net")
    x = b.input("x", (5,))
    aux = b.add("aux", Linear(out_features=5), x)
    main = b.add("main", Linear(out_features=5), x, weights_of="aux")
    assert summarize(b.build({"logits": main, "aux": aux})).parameters_inference == 30


# weights of files


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_may_hold_a_shared_array_once_or_at_each_use(name):
    graph = NETWORKS[name]()
    arrays = general_arrays(graph)
    for given in (arrays, copied(graph, arrays)):
        found = match(graph, given)
        assert list(found) == list(match(graph, arrays))
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)


def test_a_file_may_hold_it_at_another_use_only():
    graph = recurrence()
    arrays = general_arrays(graph)
    renamed = {key.replace("step0.linear", "step2.linear"): array for key, array in arrays.items()}
    np.testing.assert_array_equal(match(graph, renamed)["step0.linear.weight"], arrays["step0.linear.weight"])


def test_copies_that_differ_are_refused_with_both_names():
    graph = recurrence()
    arrays = copied(graph, general_arrays(graph))
    arrays["step2.linear.bias"] = arrays["step2.linear.bias"] + 1
    with pytest.raises(DataError, match=r"step0\.linear\.bias and step2\.linear\.bias"):
        match(graph, arrays)


def test_by_order_too_a_shared_array_stands_once_or_at_each_use():
    graph = siamese()
    arrays = general_arrays(graph)
    for given in (arrays, copied(graph, arrays)):
        modules = list(dict.fromkeys(key.rpartition(".")[0] for key in given))
        numbers = {module: i + 8 for i, module in enumerate(modules)}  # 10 sorts before 8: in no alphabetical order
        other = {f"m.{numbers[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": given[key] for key in given}
        found = match(graph, other)
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)


def test_behind_a_prefix_a_shared_array_stands_once_or_at_each_use():
    graph = siamese()
    arrays = general_arrays(graph)
    for given in (arrays, copied(graph, arrays)):
        found = match(graph, {f"model.{key}": given[key] for key in reversed(given)})
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)


def test_a_bias_of_keras_does_not_move_into_a_norm_that_not_all_uses_have():
    b = Builder("net")
    image = b.input("image", IMAGE)
    x = b.add("one.norm", BatchNorm(), b.add("one.conv", conv(bias=False), image))
    y = b.add("two.norm", BatchNorm(), b.add("two.conv", conv(bias=False), image, weights_of="one.conv"))
    graph = b.build(b.add("sum", Add(), x, y))
    arrays = {**general_arrays(graph), "one.conv.bias": np.ones(3, np.float32)}
    with pytest.raises(DataError, match=r"one\.conv\.bias"):
        match(graph, KerasArrays(arrays))
