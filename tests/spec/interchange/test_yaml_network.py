"""Networks in YAML: the same graphs as the builder's, and errors that lead to the mistake."""

from __future__ import annotations

import pytest

from cnnbench.errors import CnnbenchError, SpecError
from cnnbench.spec.graph import Builder
from cnnbench.spec.interchange.yaml_network import load_network, network_from_text
from cnnbench.spec.layers import Add, BatchNorm, Conv, GlobalAvgPool, Linear, ReLU

TINY = """\
name: tiny
input: [3, 32, 32]
nodes:
  - {name: conv1, kind: conv, out_channels: 16, kernel_size: 3, padding: 1, bias: false}
  - {name: bn1, kind: batch_norm, eps: 1e-5}
  - {name: relu1, kind: relu}
  - name: conv2
    kind: conv
    out_channels: 16
    kernel_size: [3, 3]
    padding: [[1, 1], [1, 1]]
  - {name: add, kind: add, inputs: [conv2, relu1]}
  - {name: pool, kind: global_avg_pool}
  - {name: fc, kind: linear, out_features: 10}
"""


def test_it_is_the_graph_that_the_builder_makes():
    b = Builder("tiny")
    x = b.input("image", (3, 32, 32))
    x = b.add("conv1", Conv(out_channels=16, kernel_size=3, padding=1, bias=False), x)
    x = b.add("relu1", ReLU(), b.add("bn1", BatchNorm(), x))
    y = b.add("conv2", Conv(out_channels=16, kernel_size=3, padding=1), x)
    y = b.add("pool", GlobalAvgPool(), b.add("add", Add(), y, x))
    assert network_from_text(TINY) == b.build({"logits": b.add("fc", Linear(out_features=10), y)})


def test_the_name_is_the_file_s_by_default(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TINY.partition("\n")[2])
    assert load_network(path).name == "mine"


def test_several_inputs_and_outputs():
    graph = network_from_text(
        """
inputs:
  - {name: left, shape: [2, 4, 4]}
  - {name: right, shape: [2, 4, 4]}
nodes:
  - {name: first, kind: relu}
  - {name: sum, kind: add, inputs: [first, right]}
outputs: {logits: sum, first: first}
"""
    )
    assert [item.name for item in graph.inputs] == ["left", "right"]
    assert graph.node("first").inputs == ("left",)
    assert graph.outputs == (("logits", "sum"), ("first", "first"))


@pytest.mark.parametrize("outputs", ["fc", "[fc]"])
def test_an_output_may_be_a_name_or_a_list_of_names(outputs):
    assert network_from_text(TINY + f"outputs: {outputs}\n").outputs == (("fc", "fc"),)


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "remedy"),
    [
        (
            "kernel_size: 3,",
            "kernal_size: 3,",
            "4:49",
            "conv has no field 'kernal_size'",
            "did you mean 'kernel_size'?",
        ),
        ("kind: relu", "kind: rellu", "6:25", "unknown layer kind 'rellu'", "did you mean 'relu'?"),
        ("kind: relu", "kindd: relu", "6:5", "a node lacks 'kind'", None),
        ("[conv2, relu1]", "[conv2, relu]", "12:44", "no value 'relu' so far", "did you mean 'relu1'?"),
        ("[conv2, relu1]", "[conv2, fc]", "12:44", "no value 'fc' so far", None),
        ("[conv2, relu1]", "[conv2]", "12:5", "the number of inputs is wrong", None),
        ("[conv2, relu1]", "[conv2, 3]", "12:44", "not a string", "quote it"),
        ("[conv2, relu1]", "[]", "12:36", "inputs is not valid", None),
        ("eps: 1e-5", "eps: -1", "5:35", "eps is not valid", None),
        ("eps: 1e-5", "eps: small", "5:35", "eps is not valid", None),
        ("out_channels: 16, ", "", "4:5", "conv lacks out_channels", None),
        ("out_channels: 16, ", "out_channels: 0, ", "4:31", "out_channels is not valid", None),
        ("    out_channels: 16", "    out_channels: 17", "12:5", "the inputs differ in shape", "project the shortcut"),
        ("[[1, 1], [1, 1]]", "sane", "11:5", "padding is not valid", None),
        ("name: add", "name: relu1", "12:5", "'relu1' is used twice", None),
        ("name: add", "name: ../add", "12:5", "the name is not valid", None),
        ("input: [3, 32, 32]", "input: [3, 32, big]", "2:8", "the shape is not valid", None),
        ("input: [3, 32, 32]", "input: 3", "2:8", "the shape is not valid", None),
        ("input: [3, 32, 32]", "inputt: [3, 32, 32]", "2:1", "unknown key 'inputt'", "did you mean 'input'?"),
        ("input: [3, 32, 32]", "", "1:1", "either 'input' or 'inputs'", None),
        ("input: [3, 32, 32]", "inputs: [{name: a}]", "2:10", "the key 'shape' is missing", None),
        ("input: [3, 32, 32]", "inputs: [{name: a, shape: [1], dtype: f}]", "2:39", "dtype is not valid", None),
        ("name: tiny", "name: 3", "1:7", "name is not a string", "quote it"),
        ("  - {name: pool, kind: global_avg_pool}", "  - pool", "13:5", "a node is not a mapping", None),
    ],
)
def test_a_mistake_is_found_at_its_place(old, new, place, message, remedy):
    assert old in TINY
    with pytest.raises(SpecError) as caught:
        network_from_text(TINY.replace(old, new, 1), "net.yaml")
    text = str(caught.value)
    assert text.startswith(f"net.yaml:{place}: ")
    assert message in text
    assert remedy is None or remedy in text


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "3",
        "input: [1, 2, 2]",
        "input: [1, 2, 2]\nnodes: []",
        "input: [1, 2, 2]\nnodes: {a: b}",
        TINY + "outputs: 3\n",
    ],
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(SpecError) as caught:
        network_from_text(text, "net.yaml")
    assert str(caught.value.where).startswith("net.yaml:")


def test_infinite_numbers_do_not_reach_a_graph():
    with pytest.raises(SpecError, match="eps is not valid"):
        network_from_text(TINY.replace("eps: 1e-5", "eps: .inf"))


@pytest.mark.parametrize("old", ["3, 32, 32", "conv1", "conv,", "16,", "false", "[conv2, relu1]", "relu}"])
@pytest.mark.parametrize("new", ["~", "[[[]]]", "{a: {b: c}}", "1e30", "''", "*x", "99999999999999999999"])
def test_any_value_in_any_place_is_refused_with_our_own_error(old, new):
    error = refusal(TINY.replace(old, new))
    assert error is None or str(error.where).startswith("net.yaml")


def refusal(text: str) -> CnnbenchError | None:
    """Our own error; any other would fail the test. What is read has a digest."""
    try:
        assert network_from_text(text, "net.yaml").digest
    except CnnbenchError as error:
        return error
    return None
