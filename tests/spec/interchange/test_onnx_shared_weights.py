"""Initialisers of ONNX models: which are shared weights, which are copies, and what is stored twice."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402
from plain_onnx import constant, forward, model, saved, tensor  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.spec.interchange.onnx_import import import_file  # noqa: E402


def _twice(place):
    """A model that computes ``x + w`` in which a name stands for two things."""
    proto = model(
        [helper.make_node("LeakyRelu", ["x"], ["a"], alpha=0.5), helper.make_node("Add", ["a", "w"], ["y"])],
        [tensor("x", "N", 2)],
        [tensor("y", "N", 2)],
        [constant("w", [1, 1])],
    )
    graph = proto.graph
    inner = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])] * 2, "branch", [], [tensor("b", "N", 2)])
    further = {
        "nodes": (graph.node, helper.make_node("Neg", ["x"], ["a"])),
        "node and initialiser": (graph.node, helper.make_node("Neg", ["x"], ["w"])),
        "branches": (graph.node, helper.make_node("If", ["x"], ["c"], then_branch=inner)),
        "inputs": (graph.input, tensor("x", "N", 3)),
        "attributes": (graph.node[0].attribute, helper.make_attribute("alpha", 0.25)),
        "initialisers": (graph.initializer, constant("w", [0, 0])),
        "equal initialisers": (graph.initializer, constant("w", [1, 1])),
    }
    place, item = further[place]
    place.append(item)
    return proto


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nodes", "two values of the name 'a'"),
        ("node and initialiser", "two values of the name 'w'"),
        ("inputs", "two inputs of the name 'x'"),
        ("attributes", "two attributes of node '' of the name 'alpha'"),
        ("branches", "two values of the name 'b'"),
        ("initialisers", "two unequal initialisers 'w'"),
    ],
)
def test_a_name_of_two_things_is_refused(tmp_path, place, said):
    """Readers differ in which of them they take."""
    with pytest.raises(SpecError, match="the model is damaged") as found:
        import_file(saved(tmp_path, _twice(place)))
    assert str(found.value.received) == said


def test_an_initialiser_that_is_stored_twice_is_one(tmp_path):
    network = import_file(saved(tmp_path, _twice("equal initialisers")))
    np.testing.assert_array_equal(forward(network, {"x": np.array([[2.0, -2.0]])})[0], [[3, 0]])


# weights that several nodes use


def shared_head(weights=("head.weight", "head.weight"), biases=("head.bias", "head.bias"), **second):
    """A convolution of one initialiser over two levels of other sizes; both outputs."""
    generator = np.random.default_rng(0)
    names = {*weights, *biases}
    constants = [
        constant(name, generator.normal(size=(3, 3, 3, 3) if "weight" in name else 3)) for name in sorted(names)
    ]
    nodes = [
        helper.make_node("MaxPool", ["x"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["x", weights[0], biases[0]], ["p3"], pads=[1, 0, 1, 2], strides=[2, 2]),
        helper.make_node(
            "Conv", ["half", weights[1], biases[1]], ["p4"], **{"pads": [1, 0, 1, 2], "strides": [2, 2], **second}
        ),
    ]
    return model(nodes, [tensor("x", 2, 3, 13, 14)], [tensor(o, 2, 3, "h", "w") for o in ("p3", "p4")], constants)


def test_an_initialiser_that_two_equal_nodes_use_is_shared(tmp_path):
    network = import_file(saved(tmp_path, shared_head()))
    assert network.graph.sharing == {"head": ("head", "head_2")}
    assert set(network.arrays) == {"head.weight", "head.bias"}


def test_a_shared_initialiser_computes_what_the_model_does(tmp_path):
    reference = pytest.importorskip("onnx.reference")
    proto = shared_head()
    network = import_file(saved(tmp_path, proto))
    x = np.random.default_rng(1).normal(size=(2, 3, 13, 14)).astype(np.float32)
    expected = reference.ReferenceEvaluator(proto).run(None, {"x": x})
    for found, array in zip(forward(network, {"x": x}), expected, strict=True):
        np.testing.assert_allclose(found, array, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": ("head.weight", "other.weight")},
        {"biases": ("head.bias", "other.bias")},
        {"strides": [1, 1]},
        {"dilations": [2, 2]},
    ],
)
def test_other_initialisers_or_attributes_are_copies(tmp_path, changes):
    network = import_file(saved(tmp_path, shared_head(**changes)))
    assert network.graph.sharing == {}
    assert len(network.arrays) == 4


def test_equal_numbers_in_two_initialisers_stay_two_weights(tmp_path):
    nodes = [helper.make_node("Gemm", [x, f"{y}.weight", f"{y}.bias"], [y]) for x, y in (("x", "a"), ("a", "b"))]
    constants = [
        constant(f"{y}.{kind}", np.zeros(shape)) for y in "ab" for kind, shape in (("weight", (4, 4)), ("bias", 4))
    ]
    network = import_file(saved(tmp_path, model(nodes, [tensor("x", 2, 4)], [tensor("b", 2, 4)], constants)))
    assert network.graph.sharing == {}


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("transposed", [0, 1])
def test_a_matrix_that_is_changed_on_the_way_in_is_shared_too(tmp_path, alpha, transposed):
    nodes = [
        helper.make_node("Gemm", [x, "w", "b"], [y], alpha=alpha, transB=transposed)
        for x, y in (("x", "one"), ("one", "two"), ("two", "three"))
    ]
    generator = np.random.default_rng(0)
    constants = [constant("w", generator.normal(size=(4, 4))), constant("b", generator.normal(size=4))]
    network = import_file(saved(tmp_path, model(nodes, [tensor("x", 2, 4)], [tensor("three", 2, 4)], constants)))
    assert list(network.graph.sharing.values()) == [("gemm_one", "gemm_two", "gemm_three")]
    w, b = (numpy_helper.to_array(item).astype(np.float64) for item in constants)
    x = generator.normal(size=(2, 4))
    expected = x
    for _ in range(3):
        expected = alpha * expected @ (w.T if transposed else w) + b
    np.testing.assert_allclose(forward(network, {"x": x})[0], expected, rtol=1e-5)


@pytest.mark.parametrize("training", [0, 1])
def test_batch_norms_of_one_initialiser_share_their_weights(tmp_path, training):
    """In training mode each of the model's nodes starts from the statistics that it is given."""
    arrays = ["scale", "shift", "mean", "var"]
    outputs = [[y, *([f"{y}.mean", f"{y}.var"] if training else [])] for y in ("a", "b")]
    nodes = [
        helper.make_node("BatchNormalization", [x, *arrays], y, training_mode=training)
        for x, y in zip(("x", "a"), outputs, strict=True)
    ]
    constants = [constant(name, [1.5, 0.5, 2.0]) for name in arrays]
    shown = [tensor(name, 2, 3, 4, 5) if "." not in name else tensor(name, 3) for y in outputs for name in y]
    proto = model(nodes, [tensor("x", 2, 3, 4, 5)], shown, constants)
    network = import_file(saved(tmp_path, proto))
    assert ("batchnormalization_a", "batchnormalization_b") in network.graph.sharing.values()
