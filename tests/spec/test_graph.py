"""Graphs: building, names, shapes, parts, JSON and digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add, BatchNorm, Conv, Dropout, GlobalAvgPool, Linear, ReLU, Tanh
from cnnbench.spec.serialization import graph_from_json


def residual(name: str = "tiny") -> Graph:
    """conv - bn - relu, with an identity shortcut around the last two, then a classifier."""
    b = Builder(name)
    x = b.input("image", (3, 8, 8))
    x = b.add("conv", Conv(out_channels=4, kernel_size=3, padding="same", bias=False), x)
    with b.scope("block"):
        y = b.add("relu", ReLU(), b.add("bn", BatchNorm(), x))
        y = b.add("drop", Dropout(p=0.2), b.add("add", Add(), x, y))
    return b.build({"logits": b.add("fc", Linear(out_features=5), b.add("pool", GlobalAvgPool(), y)), "features": y})


def test_scopes_make_dotted_names_and_nodes_keep_their_order():
    assert [node.name for node in residual().nodes] == [
        *("conv", "block.bn", "block.relu", "block.add", "block.drop", "pool", "fc"),
    ]


def test_layers_in_graphs_hold_explicit_numbers():
    layer = residual().node("conv").layer
    assert (layer.kernel_size, layer.stride, layer.dilation, layer.padding) == ((3, 3), (1, 1), (1, 1), ((1, 1),) * 2)


def test_shapes_follow_the_batch():
    graph = residual()
    assert graph.shapes()["conv"] == (1, 4, 8, 8)
    assert graph.shapes(7)["block.add"] == (7, 4, 8, 8)
    assert graph.shapes(7)["fc"] == (7, 5)
    assert {mask.name: mask.shape for mask in graph.named_masks(7)} == {"block.drop.mask": (7, 4, 8, 8)}


def test_weights_and_state_have_full_names_in_node_order():
    graph = residual()
    assert [spec.name for spec in graph.named_weights()] == [
        *("conv.weight", "block.bn.weight", "block.bn.bias", "fc.weight", "fc.bias"),
    ]
    assert [spec.name for spec in graph.named_state()] == ["block.bn.running_mean", "block.bn.running_var"]


def test_consumers_count_every_reading():
    b = Builder("twice")
    x = b.input("image", (2, 4, 4))
    graph = b.build(b.add("double", Add(), x, x))
    assert [node.name for node in graph.consumers()["image"]] == ["double", "double"]


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a b", "a/b", "-a", "a:1", "ä", "../a", "a\n", "<a>"])
def test_names_that_could_not_be_paths_of_words_are_refused(name):
    b = Builder("net")
    with pytest.raises(SpecError, match="the name is not valid"):
        b.input(name, (1, 2, 2))
    x = b.input("image", (1, 2, 2))
    with pytest.raises(SpecError, match="the name is not valid"):
        b.add(name, ReLU(), x)


def test_output_names_are_names_too():
    b = Builder("net")
    x = b.add("relu", ReLU(), b.input("image", (1, 2, 2)))
    with pytest.raises(SpecError, match="the name is not valid"):
        b.build({"../../etc": x})


def test_a_name_is_used_once_among_inputs_and_nodes():
    b = Builder("net")
    x = b.input("image", (1, 2, 2))
    with pytest.raises(SpecError, match="'image' is used twice"):
        b.add("image", ReLU(), x)
    b.add("relu", ReLU(), x)
    with pytest.raises(SpecError, match="'relu' is used twice"):
        b.input("relu", (1, 2, 2))


def test_no_name_lies_within_a_composite_whose_parts_have_their_names_there():
    b = Builder("net")
    x = b.add("s2", TrainableSubsample(), b.input("image", (1, 4, 4)))
    with pytest.raises(SpecError, match=r"'s2\.affine' lies within the layer 's2'"):
        b.build(b.add("s2.affine", ReLU(), x))


def test_the_number_of_inputs_is_checked():
    b = Builder("net")
    x = b.input("image", (1, 2, 2))
    with pytest.raises(SpecError, match=r"node 'add' \(add\): the number of inputs is wrong") as caught:
        b.add("add", Add(), x)
    assert (caught.value.received, caught.value.expected) == (1, "2 or more")
    with pytest.raises(SpecError) as caught:
        b.add("relu", ReLU(), x, x)
    assert (caught.value.received, caught.value.expected) == (2, "1")


def test_an_unknown_value_names_the_nearest():
    b = Builder("net")
    with pytest.raises(SpecError, match="no value 'image' so far") as caught:
        b.add("relu", ReLU(), "image")
    assert caught.value.remedy == "declare an input first"
    b.input("image", (1, 2, 2))
    with pytest.raises(SpecError) as caught:
        b.add("relu", ReLU(), "imag")
    assert caught.value.remedy == "did you mean 'image'?"


def test_an_unknown_node_names_the_nearest():
    with pytest.raises(SpecError) as caught:
        residual().node("block.bm")
    assert caught.value.remedy == "did you mean 'block.bn'?"


@pytest.mark.parametrize("shape", [(3, -1, 8), (3, 8.0, 8), (True, 8, 8)])
def test_an_input_has_whole_sizes(shape):
    with pytest.raises(SpecError, match="the shape is not valid"):
        Builder("net").input("image", shape)


def test_a_graph_needs_an_input_and_an_output():
    with pytest.raises(SpecError, match="needs an input and an output"):
        Builder("net").build([])


def test_json_is_plain_and_gives_an_equal_graph():
    graph = residual()
    text = json.dumps(graph.to_json(), allow_nan=False)
    again = graph_from_json(json.loads(text))
    assert again == graph
    assert again.outputs == (("logits", "fc"), ("features", "block.drop"))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("nodes"),
        lambda data: data["nodes"][0].pop("inputs"),
        lambda data: data["nodes"][0].update(kind=3),
        lambda data: data["inputs"][0].update(shape=None),
        lambda data: data.update(outputs=[["a", "b", "c"]]),
        lambda data: data.update(outputs=[["logits", "nowhere"]]),
        lambda data: data["nodes"][0].update(out_channels="4"),
    ],
)
def test_json_that_is_no_graph_is_refused(change):
    data = residual().to_json()
    change(data)
    with pytest.raises(SpecError):
        graph_from_json(data)


def test_the_digest_is_of_what_is_computed_and_not_of_the_name():
    assert residual("one").digest == residual("two").digest
    graph = residual()
    other = replace(graph, nodes=(replace(graph.nodes[0], layer=replace(graph.nodes[0].layer, bias=True)),))
    assert other.digest != graph.digest


def test_shorthand_and_explicit_numbers_have_one_digest():
    def digest(layer: Conv | Tanh) -> str:
        b = Builder("net")
        return b.build(b.add("layer", layer, b.input("image", (3, 8, 8)))).digest

    explicit = Conv(out_channels=2, kernel_size=(3, 3), padding=((1, 1), (1, 1)), stride=(1, 1), dilation=(1, 1))
    assert digest(Conv(out_channels=2, kernel_size=3, padding=1)) == digest(explicit)
    assert digest(Tanh(input_scale=1)) == digest(Tanh(input_scale=1.0))


def test_the_digest_does_not_change_between_versions():
    """Baselines on disk hold digests: a change here makes them all not comparable, and must be wanted."""
    b = Builder("net")
    graph = b.build(b.add("relu", ReLU(), b.input("image", (3, 8, 8))))
    text = (
        '{"inputs":[{"batched":true,"dtype":"float","name":"image","shape":[3,8,8]}],'
        '"nodes":[{"inputs":["image"],"kind":"relu","name":"relu"}],"outputs":[["output","relu"]]}'
    )
    assert graph.digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_single_node_keeps_its_name_and_takes_its_shapes_as_inputs():
    part = residual().single("block.add", batch=2)
    assert [(item.name, item.full_shape(1)) for item in part.inputs] == [
        ("input0", (2, 4, 8, 8)),
        ("input1", (2, 4, 8, 8)),
    ]
    assert part.outputs == (("output0", "block.add"),)
    assert residual().single("conv").named_weights() == residual().named_weights()[:1]


def test_a_prefix_holds_what_its_values_need_and_nothing_else():
    part = residual().prefix(["block.relu", "conv"])
    assert [node.name for node in part.nodes] == ["conv", "block.bn", "block.relu"]
    assert part.outputs == (("block.relu", "block.relu"), ("conv", "conv"))
    assert residual().prefix(["image"]).nodes == ()


def test_a_prefix_of_an_unknown_value_names_the_nearest():
    with pytest.raises(SpecError) as caught:
        residual().prefix(["block.rely"])
    assert caught.value.remedy == "did you mean 'block.relu'?"
