"""ONNX models as graphs: names, batch, weights, folding; and what is refused, by operator, node and file."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402
from plain_onnx import INT, constant, forward, model, saved, tensor  # noqa: E402

from cnnbench.errors import DataError, SpecError, UnavailableError  # noqa: E402
from cnnbench.spec.interchange import onnx_file  # noqa: E402
from cnnbench.spec.interchange.onnx_file import prepare, read_model  # noqa: E402
from cnnbench.spec.interchange.onnx_import import import_file, import_model, load_network, operators  # noqa: E402


def convolution(batch="n", image=(3, 8, 10)):
    generator = np.random.default_rng(0)
    weight, bias = generator.normal(size=(4, 3, 3, 2)), generator.normal(size=4)
    nodes = [
        helper.make_node(
            "Conv", ["x", "features.0.weight", "features.0.bias"], ["a"], pads=[1, 0, 2, 1], strides=[2, 1]
        ),
        helper.make_node("Relu", ["a"], ["b"], name="/features/features.1/Relu"),
        helper.make_node("Shape", ["b"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "minus"], ["target"], axis=0),
        helper.make_node("Reshape", ["b", "target"], ["y"]),
    ]
    constants = [
        constant("features.0.weight", weight),
        constant("features.0.bias", bias),
        constant("zero", 0, np.int64),
        constant("axis", [0], np.int64),
        constant("minus", [-1], np.int64),
    ]
    return model(nodes, [tensor("x", batch, *image)], [tensor("y", batch, 240)], constants)


def test_a_file_becomes_a_graph_with_an_open_batch_and_names_of_modules(tmp_path):
    network = import_file(saved(tmp_path, convolution()))
    graph = network.graph
    assert [(item.name, item.shape, item.batched) for item in graph.inputs] == [("x", (3, 8, 10), True)]
    assert [node.name for node in graph.nodes] == ["features.0", "features.1", "reshape_y"]
    assert graph.name == "small"
    assert graph.shapes(5)["reshape_y"] == (5, 4 * 5 * 10)
    assert set(network.arrays) == {"features.0.weight", "features.0.bias"}
    layer = graph.node("features.0").layer
    assert (layer.padding, layer.stride) == (((1, 2), (0, 1)), (2, 1))  # ONNX lists all begins, then all ends


def test_the_numbers_are_those_of_loops(tmp_path):
    network = import_file(saved(tmp_path, convolution()))
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 10))
    (found,) = forward(network, {"x": x})
    weight, bias = network.arrays["features.0.weight"], network.arrays["features.0.bias"]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1)))
    expected = np.zeros((2, 4, 5, 10))
    for i in range(5):
        for j in range(10):
            window = padded[:, :, 2 * i : 2 * i + 3, j : j + 2]
            expected[:, :, i, j] = np.einsum("nckl,ockl->no", window, weight) + bias
    np.testing.assert_allclose(found, np.maximum(expected, 0).reshape(2, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", ["n", 1, 7])
def test_the_first_axis_is_the_batch_whatever_the_file_says(tmp_path, batch):
    graph = load_network(saved(tmp_path, convolution(batch)))
    assert graph.shapes(2)["reshape_y"] == (2, 200)


def test_open_image_axes_take_the_image_that_is_asked(tmp_path):
    path = saved(tmp_path, convolution(image=(3, "h", "w")))
    with pytest.raises(SpecError, match="the shape of input 'x' is open") as raised:
        load_network(path)
    assert "--image" in str(raised.value)
    assert load_network(path, (3, 6, 6)).shapes()["features.0"] == (1, 4, 4, 6)
    with pytest.raises(SpecError, match="its own image shape"):
        load_network(path, (1, 6, 6))


def test_outputs_that_are_constants_are_refused_by_name(tmp_path):
    outputs = [tensor("y", "n", 3), tensor("scale", 2), tensor("folded", 2)]
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["scale"], ["folded"])]
    path = saved(tmp_path, model(nodes, [tensor("x", "n", 3)], outputs, [constant("scale", [1, 2])]))
    with pytest.raises(SpecError, match="outputs of the model are constants") as raised:
        load_network(path)
    assert "scale, folded" in str(raised.value)
    assert [item.array is None for item in import_file(path).outputs] == [True, False, False]


def test_an_operator_that_is_not_imported_is_named_with_its_node_file_and_neighbour(tmp_path):
    nodes = [helper.make_node("Gelo", ["x"], ["y"], name="act1")]
    path = saved(tmp_path, model(nodes, [tensor("x", 2, 3)], [tensor("y", 2, 3)]))
    with pytest.raises(SpecError) as raised:
        import_file(path)
    text = str(raised.value)
    assert "ONNX has no operator 'Gelo'" in text
    assert "small.onnx: node 'act1' (Gelo of opset 21)" in text
    assert "did you mean 'Gelu'?" in text


def test_an_operator_of_another_domain_is_named_with_it():
    nodes = [helper.make_node("Relu", ["x"], ["y"], domain="com.example")]
    with pytest.raises(SpecError, match=r"the operator 'com\.example\.Relu' is not imported"):
        import_model(prepare(model(nodes, [tensor("x", 2, 3)], [tensor("y", 2, 3)])))


def test_a_layer_that_cannot_be_is_named_by_the_models_node(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="c1", group=2)]
    proto = model(nodes, [tensor("x", 1, 3, 8, 8)], [tensor("y")], [constant("w", np.ones((4, 1, 3, 3)))])
    with pytest.raises(SpecError, match="groups does not divide the input channels") as raised:
        import_file(saved(tmp_path, proto))
    assert "small.onnx: node 'c1' (Conv of opset 21)" in str(raised.value)


def test_a_weight_that_is_computed_is_refused():
    nodes = [helper.make_node("Relu", ["w"], ["v"]), helper.make_node("Conv", ["x", "v"], ["y"])]
    proto = model(nodes, [tensor("x", 1, 3, 8, 8), tensor("w", 4, 3, 3, 3)], [tensor("y", 1, 4, 6, 6)])
    with pytest.raises(SpecError, match="the weight is not known when the model is imported"):
        import_model(prepare(proto))


def test_data_of_an_input_becomes_a_weight_where_one_is_needed_and_an_operand_where_not():
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    proto = model(nodes, [tensor("x", 1, 3, 8, 8), tensor("w", 4, 3, 3, 3)], [tensor("y", 1, 4, 6, 6)])
    given = {"x": np.ones((1, 3, 8, 8), np.float32), "w": np.full((4, 3, 3, 3), 2, np.float32)}
    network = import_model(prepare(proto), given)
    assert network.inputs == {"x": "x"}
    assert {name: array.max() for name, array in network.arrays.items()} == {"conv_y.weight": 2}
    (found,) = forward(network, {"x": given["x"]})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.full((1, 4, 6, 6), 54))


def test_data_that_is_given_is_not_folded():
    """What depends on an operand is computed by the backend, even where its data is known."""
    nodes = [helper.make_node("Add", ["x", "y"], ["z"])]
    proto = model(nodes, [tensor("x", 3), tensor("y", 3)], [tensor("z", 3)])
    given = {"x": np.arange(3, dtype=np.float32), "y": np.ones(3, np.float32)}
    network = import_model(prepare(proto), given)
    assert [node.layer.kind for node in network.graph.nodes] == ["add"]


def test_an_output_that_is_known_needs_no_graph():
    nodes = [helper.make_node("Shape", ["x"], ["y"], start=1)]
    network = import_model(prepare(model(nodes, [tensor("x", 2, 3, 4)], [tensor("y", 2, dtype=INT)])))
    assert network.graph is None
    (found,) = network.results({})
    assert (found.tolist(), found.dtype) == ([3, 4], np.int64)


def test_an_input_that_is_an_output_gets_a_node():
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    network = import_model(prepare(model(nodes, [tensor("x", 2, 3)], [tensor("y", 2, 3)])))
    assert len(network.graph.nodes) == 1
    x = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_array_equal(forward(network, {"x": x})[0], x.astype(np.float32))


def test_a_number_or_an_array_by_channel_becomes_an_affine_map():
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["a"]),
        helper.make_node("Add", ["a", "shift"], ["b"]),
        helper.make_node("Sub", ["two", "b"], ["y"]),
    ]
    constants = [constant("scale", [[[2]], [[3]]]), constant("shift", [[[1]], [[-1]]]), constant("two", 2)]
    proto = model(nodes, [tensor("x", "n", 2, 3, 3)], [tensor("y", "n", 2, 3, 3)], constants)
    network = import_model(prepare(proto), batched=True)
    assert [node.layer.kind for node in network.graph.nodes] == ["channel_affine", "channel_affine", "scalar_affine"]
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 3))
    expected = 2 - (x * np.array([2, 3]).reshape(2, 1, 1) + np.array([1, -1]).reshape(2, 1, 1))
    np.testing.assert_allclose(forward(network, {"x": x})[0], expected, rtol=1e-6, atol=1e-6)


def test_a_slope_a_channel_of_opset_6_is_one_a_channel():
    """Before opset 7 a slope (C,) was one a channel; the version converter leaves it, and it then fits the columns."""
    nodes = [helper.make_node("PRelu", ["x", "slope"], ["y"])]
    proto = model(nodes, [tensor("x", 1, 3, 2, 3)], [tensor("y", 1, 3, 2, 3)], [constant("slope", [0.1, 0.2, 0.3])], 6)
    network = import_model(prepare(proto))
    (node,) = network.graph.nodes
    assert (node.layer.kind, node.layer.slopes) == ("prelu", "channel")
    (found,) = forward(network, {"x": -np.ones((1, 3, 2, 3))})
    np.testing.assert_allclose(found[0, :, 0, 0], [-0.1, -0.2, -0.3], rtol=1e-6)


def test_an_older_softmax_over_two_axes_stays_one_over_both():
    """Below opset 13 the axes from ``axis`` on were one."""
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=1)]
    proto = model(nodes, [tensor("x", 2, 3, 4)], [tensor("y", 2, 3, 4)], opset=11)
    network = import_model(prepare(proto))
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    (found,) = forward(network, {"x": x})
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-6)
    exponent = np.exp(x)
    np.testing.assert_allclose(found, exponent / exponent.sum(axis=(1, 2), keepdims=True), rtol=1e-6)


def test_a_model_s_own_function_is_inlined():
    body = helper.make_function(
        "own", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 21)]
    )
    proto = model([helper.make_node("Double", ["x"], ["y"], domain="own")], [tensor("x", 2)], [tensor("y", 2)])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.functions.append(body)
    network = import_model(prepare(proto))
    np.testing.assert_array_equal(forward(network, {"x": np.array([1.0, 2.0])})[0], [2, 4])


@pytest.mark.parametrize("name", ["m.onnx", "w.bin"])
def test_a_pointer_of_git_lfs_instead_of_the_model_or_its_data_is_named(tmp_path, name):
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor("x", "N", 512)], [tensor("y", "N", 512)])
    proto.graph.initializer.append(constant("w", np.ones(512)))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin")
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 12\n", encoding="utf-8")
    with pytest.raises(DataError, match="a pointer of Git LFS") as found:
        import_file(tmp_path / "m.onnx")
    assert name in str(found.value.where)


@pytest.mark.parametrize("damage", ["no values", "fewer values", "a negative size"])
def test_an_initialiser_that_holds_other_values_than_it_says_is_named(tmp_path, damage):
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor("x", "N", 2)], [tensor("y", "N", 2)])
    weight = constant("w", [[1, 1]])
    if damage == "no values":
        weight.ClearField("raw_data")
    elif damage == "fewer values":
        weight.raw_data = weight.raw_data[:4]
    else:
        weight.dims[0] = -1
    proto.graph.initializer.append(weight)
    with pytest.raises(SpecError, match="initialiser 'w' cannot be read") as found:
        import_file(saved(tmp_path, proto))
    assert "small.onnx" in str(found.value.where)


class TestFiles:
    """What lies on disk."""

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(SpecError, match="the model's file does not exist"):
            read_model(tmp_path / "none.onnx")

    @pytest.mark.parametrize("content", [b"", b"no model\xff\xfe", b"name: text\n"])
    def test_a_file_that_is_no_model(self, tmp_path, content):
        path = tmp_path / "bad.onnx"
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"not an ONNX model"):
            read_model(path)

    def external(self, tmp_path, location):
        proto = convolution()
        weight = proto.graph.initializer[0]
        data = weight.raw_data
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(len(data)))):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "small.onnx").write_bytes(proto.SerializeToString())
        return folder / "small.onnx", data

    def test_external_data_beside_the_model_is_read(self, tmp_path):
        path, data = self.external(tmp_path, "weights.bin")
        (path.parent / "weights.bin").write_bytes(data)
        assert import_file(path).arrays["features.0.weight"].shape == (4, 3, 3, 2)

    @pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", "sub/../../secret.bin"])
    def test_external_data_outside_the_folder_is_refused(self, tmp_path, location):
        path, data = self.external(tmp_path, location)
        (tmp_path / "secret.bin").write_bytes(data)
        with pytest.raises(SpecError, match=r"outside the model's folder|does not exist"):
            read_model(path)

    def test_a_link_that_leaves_the_folder_is_refused(self, tmp_path):
        path, data = self.external(tmp_path, "weights.bin")
        (tmp_path / "secret.bin").write_bytes(data)
        (path.parent / "weights.bin").symlink_to(tmp_path / "secret.bin")
        with pytest.raises(SpecError, match="outside the model's folder"):
            read_model(path)

    def test_missing_external_data_is_named(self, tmp_path):
        path, _ = self.external(tmp_path, "weights.bin")
        with pytest.raises(SpecError, match=r"external data of 'features\.0\.weight' does not exist"):
            read_model(path)


def test_without_the_package_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UnavailableError, match="onnx is not installed") as raised:
        onnx_file.read_model(tmp_path / "any.onnx")
    assert raised.value.remedy == "pip install 'cnnbench[onnx]'"


def test_operators_lists_what_is_imported():
    known = operators()
    assert {"Conv", "Gemm", "LSTM", "ai.onnx.preview.training.Adam"} - set(known) <= {"LSTM"}
    assert known == sorted(known)


@pytest.mark.torch
def test_a_network_exported_by_pytorch_gives_pytorch_s_numbers(tmp_path):
    torch = pytest.importorskip("torch")
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=3)
            self.bn1 = nn.BatchNorm2d(6)
            self.act = nn.Hardswish()
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.pool = nn.AvgPool2d((3, 2), stride=(2, 3), padding=(1, 0), count_include_pad=False)
            self.fc = nn.Linear(6 * 4 * 8, 5)

        def forward(self, x):
            x = self.pool(self.up(self.act(self.bn1(self.conv1(x)))))
            return torch.log_softmax(self.fc(x.view(x.size(0), -1)), dim=1)

    torch.manual_seed(0)
    net = Net()
    net(torch.randn(8, 3, 8, 13) * 2 + 1)  # running statistics away from their start
    net.eval()
    path = tmp_path / "net.onnx"
    with __import__("warnings").catch_warnings():
        __import__("warnings").simplefilter("ignore")
        torch.onnx.export(
            net, torch.zeros(1, 3, 8, 13), path, dynamo=False, opset_version=17, dynamic_axes={"x": {0: "n"}},
            input_names=["x"], do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    network = import_file(path)
    assert {"conv1", "bn1", "fc"} <= {node.name for node in network.graph.nodes}
    x = torch.randn(3, 3, 8, 13)
    (found,) = forward(network, {"x": x.numpy()}, mode="fast")
    np.testing.assert_allclose(found, net(x).detach().numpy(), rtol=1e-5, atol=1e-5)
