"""What an ONNX model fixes is computed while it is read, whatever the operator; the forms in which it holds numbers."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from small_onnx import computed, imported, model, numbers, op, results  # noqa: E402

from cnnbench import predict  # noqa: E402
from cnnbench.errors import SpecError  # noqa: E402

X = numbers(2, 3, 4)
ROW = np.array([2.0, -1.0, 0.5, 3.0], np.float32)

FOLDED = {  # a node that reads constants, and what the model multiplies its input with
    "clip": (op("Clip", "c low", "k"), {"low": np.float32(0)}, ROW.clip(0)),
    "mod": (op("Mod", "c two", "k", fmod=1), {"two": np.float32(2)}, np.fmod(ROW, 2)),
    "greater": (op("Where", "mask c two", "k"), {"mask": ROW > 0, "two": np.float32(2)}, np.where(ROW > 0, ROW, 2)),
    "pow": (op("Pow", "c two", "k"), {"two": np.int64(2)}, ROW**2),
    "cumsum": (op("CumSum", "c axis", "k"), {"axis": np.int64(0)}, ROW.cumsum()),
    "one_hot": (
        op("OneHot", "i depth values", "k"),
        {"i": np.int64(2), "depth": np.int64(4), "values": np.array([0.0, 1.0])},
        np.eye(4)[2],
    ),
    "trilu": (op("Trilu", "m", "k", upper=0), {"m": np.ones((4, 4), np.float32)}, np.tril(np.ones((4, 4)))[:3]),
    "gather_nd": (op("GatherND", "c i", "k"), {"i": np.array([[3], [0], [1], [1]])}, ROW[[3, 0, 1, 1]]),
    "scatter_nd": (
        op("ScatterND", "c i u", "k"),
        {"i": np.array([[1]]), "u": np.array([9.0], np.float32)},
        np.array([2, 9, 0.5, 3]),
    ),
    "einsum": (op("Einsum", "c c", "k", equation="i,i->i"), {}, ROW * ROW),
    "dequantized": (
        op("DequantizeLinear", "q s z", "k"),
        {"q": np.array([5, 6, 7, 8], np.int8), "s": np.float32(0.5), "z": np.int8(4)},
        np.array([0.5, 1, 1.5, 2]),
    ),
    "softmax": (op("Softmax", "c", "k"), {}, np.exp(ROW) / np.exp(ROW).sum()),
    "cast": (op("Cast", "i", "k", to=1), {"i": np.array([1, 2, 3, 4])}, np.arange(1, 5)),
    "integers_divide_towards_zero": (
        op("Div", "i two", "q"),
        {"i": np.array([-3, 3, -4, 5]), "two": np.int64(2)},
        np.array([-1, 1, -2, 2]),
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_node_of_known_inputs_is_computed_whatever_its_operator(tmp_path, name):
    node, constants, factor = FOLDED[name]
    nodes = [node, *([op("Cast", "q", "k", to=1)] if node.output[0] == "q" else [])]
    if name == "trilu":
        nodes += [op("Slice", "k start end", "rows"), op("Mul", "x rows")]
        constants = {**constants, "start": np.array([0]), "end": np.array([3])}
    else:
        nodes += [op("Mul", "x k")]
    network = imported(tmp_path, model(nodes, {"x": ["n", 3, 4]}, {"c": ROW, **constants}))
    assert {node.layer.kind for node in network.graph.nodes} <= {"multiply", "parameter", "unsqueeze"}
    np.testing.assert_allclose(results(network, x=X)[0], X * factor, rtol=1e-6)


def test_what_windows_and_statistics_compute_is_left_to_layers(tmp_path):
    """The reference pads a strided window of SAME_UPPER wrongly."""
    nodes = [op("Conv", "c w", "k", auto_pad="SAME_UPPER", strides=[2]), op("Add", "x k")]
    constants = {"c": numbers(1, 1, 7), "w": numbers(3, 1, 2)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 3, 4]}, constants))
    assert "conv" in {node.layer.kind for node in network.graph.nodes}
    padded = np.pad(constants["c"], ((0, 0), (0, 0), (0, 1)))
    expected = sum(padded[:, :, i : i + 7 : 2] * constants["w"][np.newaxis, :, 0, i, np.newaxis] for i in (0, 1))
    np.testing.assert_allclose(results(network, x=X)[0], X + expected, rtol=1e-5, atol=1e-6)


def test_operands_that_do_not_fit_are_one_message(tmp_path):
    nodes = [op("Add", "c w", "k"), op("Mul", "x k")]
    with pytest.raises(SpecError, match="it cannot be computed from what it reads") as raised:
        imported(tmp_path, model(nodes, {"x": ["n", 3, 4]}, {"c": ROW, "w": numbers(3)}))
    assert "node 'add_k' (Add of opset 17)" in str(raised.value)


class TestConditions:
    """``If``."""

    def branches(self, condition, constants, *before):
        double = helper.make_graph([op("Add", "x x", "t")], "then", [], [info("t")])
        half = helper.make_graph(
            [op("Mul", "x h", "e")], "else", [], [info("e")], [numpy_helper.from_array(np.float32(0.5), "h")]
        )
        node = helper.make_node("If", [condition], ["y"], then_branch=double, else_branch=half)
        return model([*before, node], {"x": ["n", 3, 4]}, constants)

    @pytest.mark.parametrize(("value", "factor"), [(True, 2), (False, 0.5)])
    def test_the_branch_of_a_known_condition_is_taken(self, tmp_path, value, factor):
        proto = self.branches("c", {"c": np.array(value)})
        np.testing.assert_allclose(computed(tmp_path, proto, x=X), X * factor, rtol=1e-6)

    @pytest.mark.parametrize(("axis", "factor"), [(1, 2), (2, 0.5)])
    def test_a_condition_may_follow_from_a_shape(self, tmp_path, axis, factor):
        before = [op("Shape", "x", "s"), op("Gather", "s axis", "d"), op("Equal", "d three", "c")]
        proto = self.branches("c", {"axis": np.int64(axis), "three": np.int64(3)}, *before)
        np.testing.assert_allclose(computed(tmp_path, proto, x=X), X * factor, rtol=1e-6)

    def test_one_that_depends_on_the_batch_is_refused(self, tmp_path):
        before = [op("Shape", "x", "s"), op("Gather", "s axis", "d"), op("Equal", "d one", "c")]
        with pytest.raises(SpecError, match="depends on the batch size") as raised:
            imported(tmp_path, self.branches("c", {"axis": np.int64(0), "one": np.int64(1)}, *before))
        assert "node 'if_y' (If of opset 17)" in str(raised.value)

    def test_one_that_the_network_computes_is_refused(self, tmp_path):
        before = [op("ReduceMax", "x", "m", keepdims=0), op("Cast", "m", "c", to=TensorProto.BOOL)]
        with pytest.raises(SpecError, match="floats to booleans"):
            imported(tmp_path, self.branches("c", {}, *before))
        proto = self.branches("flag", {})
        proto.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
        with pytest.raises(SpecError, match="the condition depends on what the network computes"):
            imported(tmp_path, proto)

    def test_a_node_within_a_branch_is_named_by_itself(self, tmp_path):
        proto = self.branches("c", {"c": np.array(True)})
        (taken,) = (item for item in proto.graph.node[-1].attribute if item.name == "then_branch")
        taken.g.node[0].op_type = "Bdd"
        with pytest.raises(SpecError, match=r"^[^:]*small\.onnx: node 'bdd_t' \(Bdd of opset 17\)"):
            imported(tmp_path, proto)


def info(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


class TestForms:
    """How a model holds numbers."""

    @pytest.mark.parametrize("flat", [True, False])
    def test_a_sparse_initialiser_is_one_with_zeros(self, tmp_path, flat):
        dense = np.zeros((4, 3), np.float32)
        dense[[0, 2, 3], [1, 0, 2]] = [1.5, -2.0, 0.5]
        places = np.flatnonzero(dense) if flat else np.argwhere(dense)
        sparse = helper.make_sparse_tensor(
            numpy_helper.from_array(dense[dense != 0], "w"), numpy_helper.from_array(places, "places"), [4, 3]
        )
        proto = model([op("MatMul", "x w")], {"x": ["n", 3, 4]}, opset=21)
        proto.graph.sparse_initializer.append(sparse)
        np.testing.assert_allclose(computed(tmp_path, proto, x=X), X @ dense, rtol=1e-6)

    def test_bfloat16_is_widened_and_goes_out_as_it_is(self, tmp_path):
        import ml_dtypes

        narrow = ROW.astype(ml_dtypes.bfloat16)
        proto = model([op("Mul", "x c")], {"x": ["n", 3, 4]}, opset=22)
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
        proto.graph.initializer.append(numpy_helper.from_array(narrow, "c"))
        found = computed(tmp_path, proto, x=X)
        assert found.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(found, (X * narrow.astype(np.float32)).astype(ml_dtypes.bfloat16))

    def test_a_cast_through_bfloat16_rounds(self, tmp_path):
        import ml_dtypes

        nodes = [op("Cast", "c", "b", to=TensorProto.BFLOAT16), op("Cast", "b", "f", to=1), op("Mul", "x f")]
        fine = np.array([1.001, 2.003, 3.007, 4.009], np.float32)
        found = computed(tmp_path, model(nodes, {"x": ["n", 3, 4]}, {"c": fine}), x=X)
        np.testing.assert_allclose(found, X * fine.astype(ml_dtypes.bfloat16).astype(np.float32), rtol=1e-6)

    @pytest.mark.parametrize("nodes", [[], [op("Transpose", "x", "t", perm=[0, 2, 1])]])
    def test_images_of_integers_are_floats_once_they_are_cast(self, tmp_path, nodes):
        last = "t" if nodes else "x"
        proto = model([*nodes, op("Cast", last, "f", to=1), op("Div", "f most")], {"x": ["n", 3, 4]},
                      {"most": np.float32(255)}, kinds={"x": "u"})  # fmt: skip
        network = imported(tmp_path, proto)
        assert network.graph.inputs[0].dtype == "float"
        image = np.random.default_rng(0).integers(0, 256, (2, 3, 4), np.uint8)
        found = predict(tmp_path / "small.onnx", image).output
        np.testing.assert_allclose(found, (image.transpose(0, 2, 1) if nodes else image) / 255, rtol=1e-6)

    def test_indices_stay_integers(self, tmp_path):
        table = numbers(5, 4)
        network = imported(
            tmp_path, model([op("Gather", "table x")], {"x": ["n", 3]}, {"table": table}, kinds={"x": "i"})
        )
        assert network.graph.inputs[0].dtype == "int"
        indices = np.array([[0, 4, 1], [2, 2, 3]])
        np.testing.assert_array_equal(results(network, x=indices)[0], table[indices])

    @pytest.mark.parametrize("kind", [np.int64, np.int32, np.float32])
    def test_an_exponent_may_be_of_any_kind(self, tmp_path, kind):
        found = computed(tmp_path, model([op("Pow", "x two")], {"x": ["n", 3, 4]}, {"two": kind(2)}), x=X)
        np.testing.assert_allclose(found, X**2, rtol=1e-6)

    def test_a_known_mask_selects_among_computed_values(self, tmp_path):
        mask = np.arange(12).reshape(3, 4) % 3 == 0
        proto = model([op("Neg", "x", "minus"), op("Where", "mask x minus")], {"x": ["n", 3, 4]}, {"mask": mask})
        np.testing.assert_array_equal(computed(tmp_path, proto, x=X), np.where(mask, X, -X))

    @pytest.mark.parametrize("images", [1, 3])
    def test_known_indices_are_read_by_layers(self, tmp_path, images):
        """The regions' images of RoiAlign."""
        boxes = np.array([[0, 0, 3, 3], [1, 1, 2, 3]], np.float32)
        node = op("RoiAlign", "x boxes which", output_height=1, output_width=1, sampling_ratio=1)
        constants = {"boxes": boxes, "which": np.array([0, images - 1])}
        x = numbers(images, 1, 4, 4)
        found = computed(tmp_path, model([node], {"x": ["n", 1, 4, 4]}, constants), x=x)
        # half-pixel coordinates: one sample at the middle of each region, less 1/2
        expected = [x[0, 0, 1, 1], (x[-1, 0, 1, 1] + x[-1, 0, 2, 1]) / 2]
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)


def test_predict_cuts_what_stays_into_rows(tmp_path):
    """Three of four boxes stay: the third lies on the first."""
    boxes = np.array([[[0, 0, 1, 1], [0, 2, 1, 3], [0, 0.05, 1, 1.05], [0, 4, 1, 5]]], np.float32)
    node = op("NonMaxSuppression", "boxes scores most overlap")
    proto = model(
        [node],
        {"boxes": [1, 4, 4], "scores": [1, 1, 4]},
        {"most": np.int64(4), "overlap": np.float32(0.5)},
        kinds={"y": "i"},
    )
    imported(tmp_path, proto)
    scores = np.array([[[0.9, 0.6, 0.8, 0.7]]], np.float32)
    found = predict(tmp_path / "small.onnx", {"boxes": boxes, "scores": scores}).output
    assert found.tolist() == [[0, 0, 0], [0, 0, 3], [0, 0, 1]]


def test_nodes_out_of_order_are_one_message(tmp_path):
    with pytest.raises(SpecError, match="no earlier node computes 'a'") as raised:
        imported(tmp_path, model([op("Relu", "a"), op("Neg", "x", "a")], {"x": ["n", 3]}))
    assert "node 'relu_y' (Relu of opset 17)" in str(raised.value)


@pytest.mark.parametrize(
    ("opset", "outputs", "training"),
    [
        (9, "n mean var saved_mean saved_var", True),
        (13, "n mean var saved_mean saved_var", True),
        (14, "n mean var", True),
        (17, "n", True),
        (17, "n", False),
    ],
)
def test_a_weight_that_is_standardized_while_it_is_used_is_known(tmp_path, opset, outputs, training):
    """As PyTorch exports a convolution whose filters are normalised by a batch norm, by their own statistics or not."""
    weight = numbers(4, 3, 3, 3)
    mode = {"training_mode": 1} if training and opset >= 14 else {}
    nodes = [
        op("Reshape", "w one", "flat"),
        op("BatchNormalization", "flat gain shift zero unit", outputs, epsilon=1e-3, **mode),
        op("Reshape", "n back", "standard"),
        op("Conv", "x standard"),
    ]
    gain, shift = numbers(4, seed=1), numbers(4, seed=2)
    shapes = {"one": np.array([1, 4, -1]), "back": np.array([4, 3, 3, 3])}
    constants = {"w": weight, "gain": gain, "shift": shift, **shapes}
    constants |= {"zero": np.zeros(4, np.float32), "unit": np.ones(4, np.float32)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 3, 3, 3]}, constants, opset=opset))
    assert [node.layer.kind for node in network.graph.nodes] == ["conv"]
    rows = weight.reshape(4, -1)
    mean, var = (rows.mean(1, keepdims=True), rows.var(1, keepdims=True)) if training else (0.0, 1.0)
    normal = (rows - mean) / np.sqrt(var + 1e-3)
    filters = normal * gain[:, np.newaxis] + shift[:, np.newaxis]
    x = numbers(2, 3, 3, 3, seed=3)
    np.testing.assert_allclose(results(network, x=x)[0][:, :, 0, 0], x.reshape(2, -1) @ filters.T, rtol=1e-5, atol=1e-5)
