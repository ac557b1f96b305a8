"""Each ONNX operator is read as its version at the file's opset has it; versions that are not read are refused."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from small_onnx import computed, imported, model, numbers, op  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.spec.interchange import onnx_node  # noqa: E402
from cnnbench.spec.interchange.onnx_file import prepare  # noqa: E402
from cnnbench.spec.interchange.onnx_versions import REVIEWED, history, version_at  # noqa: E402

X = numbers(2, 3, 4, 5)
CHANNELS = np.array([0.5, -1.5, 2.0], np.float32)
BATCH_NORM = {name: np.abs(numbers(3, seed=i)) + 0.1 for i, name in enumerate(("w", "b", "m", "v"))}


def softmax(x, axes):
    e = np.exp(x - x.max(axis=axes, keepdims=True))
    return e / e.sum(axis=axes, keepdims=True)


def hardmax(x, first):
    flat = x.reshape(*x.shape[:first], -1)
    return np.eye(flat.shape[-1])[flat.argmax(-1)].reshape(x.shape)


def asymmetric(x, scales, mode="linear"):
    """Resized along the last two axes with coordinates i / s, as in opsets 7 to 10."""
    for axis, s in zip((2, 3), scales, strict=True):
        n = x.shape[axis]
        places = np.arange(int(np.float32(n) * np.float32(s))) / s
        if mode == "nearest":
            x = x.take(np.clip((np.floor if s >= 1 else np.ceil)(places).astype(int), 0, n - 1), axis)
            continue
        low = np.floor(places).astype(int)
        share = (places - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = x.take(np.clip(low, 0, n - 1), axis) * (1 - share) + x.take(np.clip(low + 1, 0, n - 1), axis) * share
    return x


def batch_norm(x, mean, variance, eps=1e-5):
    w, b, m, v = (a[:, np.newaxis, np.newaxis] for a in (BATCH_NORM["w"], BATCH_NORM["b"], mean, variance))
    return (x - m) / np.sqrt(v + eps) * w + b


def statistics(x):
    return x.mean((0, 2, 3)), x.var((0, 2, 3))


def lp(x, p):
    return (np.abs(x) ** p).sum((2, 3), keepdims=True) ** (1 / p)


def one(name, inputs="x", outputs="y", **attributes):
    return [op(name, inputs, outputs, **attributes)]


OLDER = {  # opsets: nodes, constants, what they compute
    "add_along_an_axis": ((1, 6), one("Add", "x c", axis=1, broadcast=1), {"c": CHANNELS}, lambda x: x + by_channel()),
    "sub_along_an_axis": ((1, 6), one("Sub", "x c", axis=1, broadcast=1), {"c": CHANNELS}, lambda x: x - by_channel()),
    "mul_along_an_axis": ((1, 6), one("Mul", "x c", axis=1, broadcast=1), {"c": CHANNELS}, lambda x: x * by_channel()),
    "div_along_an_axis": ((1, 6), one("Div", "x c", axis=-3, broadcast=1), {"c": CHANNELS}, lambda x: x / by_channel()),
    "pow_along_an_axis": (
        (1,),
        [op("Abs", "x", "a"), op("Pow", "a c", axis=1, broadcast=1)],
        {"c": np.array([1.0, 2.0, 0.5])},
        lambda x: np.abs(x) ** np.array([1.0, 2.0, 0.5])[:, np.newaxis, np.newaxis],
    ),
    "add_along_the_last_axes": ((6,), one("Add", "x c", broadcast=1), {"c": X[0, 0]}, lambda x: x + X[0, 0]),
    "add_a_computed_value_along_an_axis": (
        (6,),
        [op("Sigmoid", "c", "s"), op("Add", "x s", axis=1, broadcast=1)],
        {"c": CHANNELS},
        lambda x: x + 1 / (1 + np.exp(-by_channel())),
    ),
    "reshape": ((1, 4), one("Reshape", shape=[0, 3, -1]), {}, lambda x: x.reshape(-1, 3, 20)),
    "clip": ((1, 6, 10), one("Clip", min=-0.5, max=0.5), {}, lambda x: x.clip(-0.5, 0.5)),
    "clip_below": ((6, 10), one("Clip", min=-0.5), {}, lambda x: x.clip(-0.5)),
    "concat": ((1,), one("Concat", "x x"), {}, lambda x: np.concatenate([x, x], 1)),
    "cast": ((1,), one("Cast", to="FLOAT"), {}, lambda x: x),
    "dropout": ((1, 6), one("Dropout", is_test=1, ratio=0.7), {}, lambda x: x),
    "dropout_after_7": ((7, 10, 12), one("Dropout"), {}, lambda x: x),
    "dropout_s_mask": ((6,), [op("Dropout", "x", "a m", is_test=1), op("Add", "x m")], {}, lambda x: x + 1),
    "selu": ((1,), one("Selu"), {}, lambda x: 1.0507 * np.where(x > 0, x, 1.6732 * np.expm1(x))),
    "selu_after_6": (
        (6,),
        one("Selu"),
        {},
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    ),
    "tile": (
        (1, 5),
        one("Tile", "x tiles axis"),
        {"tiles": np.array([2.0]), "axis": np.array([3.0])},
        lambda x: np.tile(x, (1, 1, 1, 2)),
    ),
    "pad": ((1,), one("Pad", paddings=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5), {}, lambda x: padded(x, 0.5)),
    "pad_after_2": ((2, 10), one("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5), {}, lambda x: padded(x, 0.5)),
    "slice": ((1, 9), one("Slice", starts=[1, -3], ends=[9, -1], axes=[1, 3]), {}, lambda x: x[:, 1:, :, -3:-1]),
    "split": (
        (1, 2, 11),
        [op("Split", "x", "a b", axis=1, split=[1, 2]), op("Relu", "b")],
        {},
        lambda x: relu(x[:, 1:]),
    ),
    "squeeze": (
        (1, 9),
        [op("Slice", "x", "a", starts=[1], ends=[2], axes=[1]), op("Squeeze", "a", axes=[1])],
        {},
        lambda x: x[:, 1],
    ),
    "unsqueeze": ((1, 11), one("Unsqueeze", axes=[1, 4]), {}, lambda x: np.expand_dims(x, (1, 4))),
    "top_k": ((1, 9), one("TopK", "x", "y i", k=2, axis=1), {}, lambda x: -np.sort(-x, 1)[:, :2]),
    "reduce": ((1, 11, 13), one("ReduceMean", axes=[1], keepdims=0), {}, lambda x: x.mean(1)),
    "reduce_sum": ((1, 11), one("ReduceSum", axes=[2, 3]), {}, lambda x: x.sum((2, 3), keepdims=True)),
    "global_lp_pool": ((1,), one("GlobalLpPool", p=3.0), {}, lambda x: lp(x, 3)),
    "prelu": ((1, 6), one("PRelu", "x c"), {"c": CHANNELS}, lambda x: relu(x) + by_channel() * np.minimum(x, 0)),
    "softmax": ((1, 11, 12), one("Softmax"), {}, lambda x: softmax(x, (1, 2, 3))),
    "softmax_axis_2": ((9, 11), one("Softmax", axis=2), {}, lambda x: softmax(x, (2, 3))),
    "softmax_axis_3": ((9, 11), one("Softmax", axis=3), {}, lambda x: softmax(x, (3,))),
    "softmax_after_13": ((13, 17), one("Softmax"), {}, lambda x: softmax(x, (3,))),
    "log_softmax": ((1, 11), one("LogSoftmax", axis=-2), {}, lambda x: np.log(softmax(x, (2, 3)))),
    "hardmax": ((1, 11), one("Hardmax"), {}, lambda x: hardmax(x, 1)),
    "softmax_of_a_vector_of_channels": (
        (9,),
        [op("GlobalAveragePool", "x", "a"), op("Softmax", "a", axis=1)],
        {},
        lambda x: softmax(x.mean((2, 3), keepdims=True), (1,)),
    ),
    "batch_norm_in_inference": (
        (1, 6),
        one("BatchNormalization", "x w b m v", is_test=1, epsilon=1e-3),
        BATCH_NORM,
        lambda x: batch_norm(x, BATCH_NORM["m"], BATCH_NORM["v"], 1e-3),
    ),
    "batch_norm_after_7": (
        (7, 9, 14, 15),
        one("BatchNormalization", "x w b m v"),
        BATCH_NORM,
        lambda x: batch_norm(x, BATCH_NORM["m"], BATCH_NORM["v"]),
    ),
    "batch_norm_in_training_before_7": (
        (1, 6),
        one("BatchNormalization", "x w b m v"),
        BATCH_NORM,
        lambda x: batch_norm(x, *statistics(x)),
    ),
    "batch_norm_in_training_before_14": (
        (7, 9, 12),
        one("BatchNormalization", "x w b m v", "y m2 v2 sm sv"),
        BATCH_NORM,
        lambda x: batch_norm(x, *statistics(x)),
    ),
    "batch_norm_in_training": (
        (14, 15, 17),
        one("BatchNormalization", "x w b m v", "y m2 v2", training_mode=1),
        BATCH_NORM,
        lambda x: batch_norm(x, *statistics(x)),
    ),
    "running_mean_after_training": (
        (14, 17),
        [
            op("BatchNormalization", "x w b m v", "a m2 v2", training_mode=1, momentum=0.75),
            op("Unsqueeze", "m2 axes", "mean"),
            op("Unsqueeze", "v2 axes", "variance"),
            op("Mul", "x mean", "product"),
            op("Add", "product variance"),
        ],
        {**BATCH_NORM, "axes": np.array([1, 2])},
        lambda x: x * moved(x, "m", 0) + moved(x, "v", 1),
    ),
    "batch_norm_by_position": (
        (1, 6, 8),
        one("BatchNormalization", "x w b m v", spatial=0, is_test=1),
        {name: np.abs(numbers(3, 4, 5, seed=i)) + 0.1 for i, name in enumerate("wbmv")},
        lambda x: by_position(x, *(np.abs(numbers(3, 4, 5, seed=i)) + 0.1 for i in range(4))),
    ),
    "upsample_by_two_factors": (
        (1, 6),
        one("Upsample", height_scale=2.0, width_scale=1.5, mode="nearest"),
        {},
        lambda x: asymmetric(x, (2, 1.5), "nearest"),
    ),
    "upsample": (
        (7, 8),
        one("Upsample", scales=[1.0, 1.0, 2.0, 1.5], mode="linear"),
        {},
        lambda x: asymmetric(x, (2, 1.5)),
    ),
    "upsample_by_an_input": (
        (9,),
        one("Upsample", "x s", mode="linear"),
        {"s": np.array([1.0, 1.0, 3.0, 1.5])},
        lambda x: asymmetric(x, (3, 1.5)),
    ),
    "resize_10": (
        (10,),
        one("Resize", "x s", mode="linear"),
        {"s": np.array([1.0, 1.0, 2.0, 0.6])},
        lambda x: asymmetric(x, (2, 0.6)),
    ),
    "resize_10_to_the_nearest": (
        (10,),
        one("Resize", "x s"),
        {"s": np.array([1.0, 1.0, 1.75, 0.7])},
        lambda x: asymmetric(x, (1.75, 0.7), "nearest"),
    ),
    "resize_11_for_tensorflow_s_nearest": (
        (11, 12),
        one("Resize", "x r s", coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor"),
        {"s": np.array([1.0, 1.0, 2.0, 2.0]), "r": np.zeros(0, np.float32)},
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    "group_norm_of_a_scale_a_group": (
        (18, 20),
        [op("Concat", "x x", "a", axis=1), op("GroupNormalization", "a w b", num_groups=2)],
        {"w": np.array([0.5, 2.0]), "b": np.array([1.0, -1.0])},
        lambda x: in_groups(x, np.repeat([0.5, 2.0], 3), np.repeat([1.0, -1.0], 3)),
    ),
    "group_norm_of_a_scale_a_channel": (
        (21, 24),
        [op("Concat", "x x", "a", axis=1), op("GroupNormalization", "a w b", num_groups=2)],
        {"w": numbers(6), "b": numbers(6, seed=1)},
        lambda x: in_groups(x, numbers(6), numbers(6, seed=1)),
    ),
    "grid_sample_s_mode": (
        (16, 17),
        one("GridSample", "x grid", mode="bilinear", align_corners=1),
        {"grid": np.broadcast_to(np.array([-1.0, 1.0], np.float32), (2, 1, 1, 2))},
        lambda x: x[:, :, -1:, :1],
    ),
}


def relu(x):
    return np.maximum(x, 0)


def by_channel():
    return CHANNELS[:, np.newaxis, np.newaxis]


def padded(x, value):
    return np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=value)


def moved(x, name, which):
    return (0.75 * BATCH_NORM[name] + 0.25 * statistics(x)[which])[:, np.newaxis, np.newaxis]


def by_position(x, w, b, m, v):
    return (x - m) / np.sqrt(v + 1e-5) * w + b


def in_groups(x, w, b):
    grouped = np.concatenate([x, x], 1).reshape(len(x), 2, -1)
    normal = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    return normal.reshape(len(x), 6, 4, 5) * w[:, np.newaxis, np.newaxis] + b[:, np.newaxis, np.newaxis]


@pytest.mark.parametrize(("opset", "name"), [(opset, name) for name, (opsets, *_) in OLDER.items() for opset in opsets])
def test_an_operator_computes_what_it_did_at_the_opset_of_the_file(tmp_path, opset, name):
    _, nodes, constants, expected = OLDER[name]
    batch = 2 if "grid" in constants else "n"
    found = computed(tmp_path, model(nodes, {"x": [batch, 3, 4, 5]}, constants, opset=opset), x=X)
    wanted = expected(X.astype(np.float64))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def linear(x, axis, out, scale):
    """One axis resized with half-pixel coordinates of a factor that is given."""
    n = x.shape[axis]
    places = np.clip((np.arange(out) + 0.5) / scale - 0.5, 0, n - 1)
    low = np.minimum(np.floor(places).astype(int), n - 2)
    share = (places - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return x.take(low, axis) * (1 - share) + x.take(low + 1, axis) * share


@pytest.mark.parametrize(("policy", "scale", "size"), [("not_larger", 2.25, (9, 11)), ("not_smaller", 3.0, (12, 15))])
def test_a_kept_aspect_ratio_is_one_factor_for_all_axes(tmp_path, policy, scale, size):
    node = op("Resize", "x - - to", mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)
    to = np.array([9, 15]) if policy == "not_larger" else np.array([11, 15])
    found = computed(tmp_path, model([node], {"x": ["n", 3, 4, 5]}, {"to": to}, opset=19), x=X)
    np.testing.assert_allclose(found, linear(linear(X, 2, size[0], scale), 3, size[1], scale), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "scale", "out"), [(10, 0.7, 7), (10, 0.3, 3), (706, 0.31728, 223), (3, 5 / 3, 5), (7, 3 / 7, 3)]
)
def test_a_scale_is_the_number_in_single_precision_that_the_file_holds(tmp_path, size, scale, out):
    proto = model(one("Resize", "x - s"), {"x": ["n", 1, size]}, {"s": np.array([1.0, 1.0, scale])})
    assert imported(tmp_path, proto).graph.shapes(2)["resize_y"] == (2, 1, out)


def test_a_neighbour_that_lies_half_way_is_the_lower_one(tmp_path):
    """(3 + 1/2) / 0.7 - 1/2 is 4.5, though 0.7 in single precision is a little less."""
    proto = model(one("Resize", "x - s"), {"x": ["n", 1, 6]}, {"s": np.array([1.0, 1.0, 0.7])})
    found = computed(tmp_path, proto, x=np.arange(6, dtype=np.float32).reshape(1, 1, 6))
    assert found.ravel().tolist() == [0, 2, 3, 4]


class TestRefusals:
    """What is not read, by operator, file, node and opset."""

    def refused(self, tmp_path, nodes, constants=None, opset=17):
        with pytest.raises(SpecError) as raised:
            imported(tmp_path, model(nodes, {"x": ["n", 3, 4, 5]}, constants, opset=opset))
        return str(raised.value)

    def test_a_version_before_those_that_are_read(self, tmp_path, monkeypatch):
        monkeypatch.setitem(onnx_node.SINCE, ("", "Elu"), 6)
        message = self.refused(tmp_path, one("Elu"), opset=5)
        assert "small.onnx: node 'elu_y' (Elu of opset 5): version 1 of 'Elu' is not read" in message
        assert "version 6, 22" in message

    def test_an_operator_that_is_newer_than_the_file(self, tmp_path):
        message = self.refused(tmp_path, one("Gelu"), opset=17)
        assert "node 'gelu_y' (Gelu of opset 17): opset 17 has no operator 'Gelu'" in message
        assert "opset 20 or newer" in message

    @pytest.mark.parametrize("opset", [1, 9, 17, 21, 24])
    def test_an_operator_that_does_not_exist(self, tmp_path, opset):
        message = self.refused(tmp_path, one("Gelo"), opset=opset)
        assert f"node 'gelo_y' (Gelo of opset {opset}): ONNX has no operator 'Gelo'" in message
        assert "did you mean 'Gelu'?" in message

    def test_one_of_onnx_s_that_is_no_layer_has_no_neighbour(self, tmp_path):
        message = self.refused(tmp_path, one("DeformConv", "x x x"), opset=19)
        assert "the operator 'DeformConv' is not imported as a layer" in message
        assert "did you mean" not in message

    def test_an_operator_set_that_nobody_has_gone_through(self):
        proto = model(one("Relu"), {"x": ["n", 3]}, opset=REVIEWED + 1)
        with pytest.raises(SpecError, match="newer than those that are read"):
            prepare(proto)

    def test_statistics_of_another_shape(self, tmp_path):
        message = self.refused(tmp_path, one("BatchNormalization", "x w b m v", spatial=0), BATCH_NORM, opset=8)
        assert "(BatchNormalization of opset 8): normalisation with spatial 0 is read in inference only" in message
        assert "statistics of shape (3, 4, 5)" in message

    def test_values_left_out_at_random(self, tmp_path):
        assert "draws its mask" in self.refused(tmp_path, one("Dropout"), opset=6)

    @pytest.mark.parametrize("opset", [18, 21])
    def test_a_scale_that_fits_another_version(self, tmp_path, opset):
        constants = {"w": numbers(3 if opset == 18 else 1), "b": numbers(3 if opset == 18 else 1)}
        message = self.refused(tmp_path, one("GroupNormalization", "x w b", num_groups=1), constants, opset=opset)
        assert "the weight has another shape" in message


@pytest.mark.parametrize(("opset", "axes"), [(9, (1, 2, 3)), (11, (1, 2, 3)), (13, (3,)), (21, (3,))])
@pytest.mark.parametrize("nested", [False, True])
def test_a_function_is_read_at_its_own_opset(tmp_path, opset, axes, nested):
    body = [op("Softmax", "a", "b")]
    if nested:
        branches = {
            f"{name}_branch": helper.make_graph(
                [op("Softmax", "a", name)], name, [], [helper.make_tensor_value_info(name, 1, None)]
            )
            for name in ("then", "else")
        }
        body = [op("Constant", "", "c", value=numpy_helper.from_array(np.array(True))), op("If", "c", "b", **branches)]
    proto = model([op("Own", "x", domain="own")], {"x": ["n", 3, 4, 5]}, opset=21)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.functions.append(helper.make_function("own", "Own", ["a"], ["b"], body, [helper.make_opsetid("", opset)]))
    np.testing.assert_allclose(computed(tmp_path, proto, x=X), softmax(X, axes), rtol=1e-5)


def test_a_damaged_node_is_named(tmp_path):
    with pytest.raises(SpecError, match="the model is damaged") as raised:
        imported(tmp_path, model(one("Unsqueeze"), {"x": ["n", 3]}))
    assert "small.onnx: node 'unsqueeze_y' (Unsqueeze of opset 17)" in str(raised.value)


def test_the_version_is_the_last_that_is_no_newer_than_the_opset():
    assert [version_at("Resize", "", opset) for opset in (9, 10, 12, 13, 27)] == [None, 10, 11, 13, 19]
    assert max(history()["", "Resize"]) <= REVIEWED


def test_the_package_has_no_operator_set_that_is_not_reviewed():
    """A newer package of ONNX: go through its changes, then raise REVIEWED."""
    assert onnx.defs.onnx_opset_version() <= REVIEWED


@pytest.mark.parametrize(
    ("domain", "name", "refused"),
    [
        ("", "Relu", "ai.onnx.Relu"),
        ("ai.onnx", "Relu", "ai.onnx.Relu"),
        ("ai.onnx.ml", "Scaler", "ai.onnx.ml.Scaler"),
        ("", "Ours", None),
        ("ours", "Relu", None),
    ],
)
def test_a_function_of_the_name_of_a_standard_operator_is_refused_as_runtimes_disagree_about_it(domain, name, refused):
    sets = [helper.make_opsetid(each, 3 if each == "ai.onnx.ml" else 18) for each in dict.fromkeys(["", domain])]
    body = [helper.make_node("Neg", ["a"], ["b"])]
    function = helper.make_function(domain, name, ["a"], ["b"], body, sets)
    value = [helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 3]) for each in "xy"]
    graph = helper.make_graph([helper.make_node(name, ["x"], ["y"], domain=domain)], "g", value[:1], value[1:])
    model = helper.make_model(graph, functions=[function], opset_imports=sets)
    if refused is None:
        assert [node.op_type for node in prepare(model).model.graph.node] == ["Neg"]
        return
    with pytest.raises(SpecError, match="the name of a standard operator") as caught:
        prepare(model)
    assert refused in str(caught.value)


def test_two_functions_of_one_name_are_refused():
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("ours", 1)]
    bodies = [[helper.make_node(kind, ["a"], ["b"])] for kind in ("Neg", "Abs")]
    made = [helper.make_function("ours", "F", ["a"], ["b"], body, sets) for body in bodies]
    value = [helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 3]) for each in "xy"]
    graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="ours")], "g", value[:1], value[1:])
    with pytest.raises(SpecError, match="damaged"):
        prepare(helper.make_model(graph, functions=made, opset_imports=sets))
