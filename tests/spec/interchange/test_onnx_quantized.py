"""Quantised ONNX models: operators and whole networks against the reference evaluator of the ``onnx`` package."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from loaded_backends import loaded_backend  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.execution.contract import ProgramOptions  # noqa: E402
from cnnbench.execution.precision import precision  # noqa: E402
from cnnbench.spec.interchange.onnx_import import import_file  # noqa: E402
from cnnbench.spec.weights import split_state  # noqa: E402

FLOAT, INT8, UINT8, INT32 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32


def generator(*seed):
    return np.random.default_rng([7, *seed])


def integers(dtype, *shape, seed=0):
    info = np.iinfo(dtype)
    return generator(seed, *shape).integers(info.min, info.max + 1, shape).astype(dtype)


def model(nodes, x, outputs, constants):
    """A model of an input ``x`` (element type, image) with an open batch."""
    element, image = x
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, ["n", *image])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def results(tmp_path, proto, x, backend="numpy", mode="reference", policy="float32"):
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    network = import_file(path)
    program = loaded_backend(backend).compile_forward(network.graph, ProgramOptions(mode, precision(policy)))
    program.load(*split_state(network.graph, network.arrays))
    result = program.download(program.run(program.upload(dict.fromkeys(network.inputs, x))))
    return network.results(result.outputs)


def truth(proto, x):
    return ReferenceEvaluator(proto).run(None, {"x": x})


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, f"{op}_{outputs[0]}", **attributes)


def same(tmp_path, proto, x):
    """Integers are equal, floats to their last digits; in the model's dtypes. Every backend mode is numpy's here."""
    for mode in ("reference", "fast"):
        for a, b in zip(results(tmp_path, proto, x, mode=mode), truth(proto, x), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            if a.dtype.kind == "f":
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("dtype", "element"), [(np.int8, INT8), (np.uint8, UINT8)])
@pytest.mark.parametrize("axis", [None, 1, -1])
def test_quantize_and_dequantize_per_tensor_and_per_axis(tmp_path, dtype, element, axis):
    size = {None: (), 1: (3,), -1: (5,)}[axis]
    constants = {
        "s": generator(1).uniform(0.01, 0.03, size).astype(np.float32),
        "z": integers(dtype, *size, seed=2) // 2,
    }
    attributes = {} if axis is None else {"axis": axis}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
    ]
    proto = model(nodes, (FLOAT, (3, 4, 5)), [("q", element), ("y", FLOAT)], constants)
    same(tmp_path, proto, generator(3).normal(size=(2, 3, 4, 5)).astype(np.float32) * 2)


def test_ties_of_a_model_go_to_the_even_level(tmp_path):
    proto = model([node("QuantizeLinear", ["x", "s"], ["q"])], (FLOAT, (41,)), [("q", UINT8)], {"s": np.float32(0.5)})
    x = np.arange(-20, 21, dtype=np.float32)[None] / 4
    same(tmp_path, proto, x)
    assert results(tmp_path, proto, x)[0][0, 20:27].tolist() == [0, 0, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_convolutions_of_integers_are_exact(tmp_path, dtype):
    element = INT8 if dtype == np.int8 else UINT8
    constants = {"w": integers(np.int8, 6, 2, 3, 2), "xz": dtype(7), "wz": integers(np.int8, 6, seed=5) // 8}
    attributes = {"pads": [1, 0, 2, 1], "strides": [2, 1], "group": 2}
    proto = model(
        [node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], **attributes)],
        (element, (4, 8, 7)),
        [("y", INT32)],
        constants,
    )
    x = integers(dtype, 2, 4, 8, 7, seed=1)
    (y,) = results(tmp_path, proto, x)
    assert y.dtype == np.int32
    padded = np.pad(x.astype(np.int64) - 7, ((0, 0), (0, 0), (1, 2), (0, 1)))
    w = constants["w"].astype(np.int64) - constants["wz"].astype(np.int64).reshape(-1, 1, 1, 1)
    for o in range(6):
        group = padded[:, 2 * (o // 3) : 2 * (o // 3) + 2]
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                window = group[:, :, 2 * i : 2 * i + 3, j : j + 2]
                np.testing.assert_array_equal(y[:, o, i, j], (window * w[o]).sum(axis=(1, 2, 3)))


def test_products_of_integers_are_exact(tmp_path):
    constants = {"b": integers(np.int8, 7, 5), "az": np.uint8(200), "bz": integers(np.int8, 5, seed=4)}
    proto = model([node("MatMulInteger", ["x", "b", "az", "bz"], ["y"])], (UINT8, (4, 7)), [("y", INT32)], constants)
    x = integers(np.uint8, 3, 4, 7)
    wanted = (x.astype(np.int64) - 200) @ (constants["b"].astype(np.int64) - constants["bz"].astype(np.int64))
    np.testing.assert_array_equal(results(tmp_path, proto, x)[0], wanted)


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_convolution_between_quantised_values(tmp_path, per_channel):
    size = (4,) if per_channel else ()
    constants = {
        "xs": np.float32(0.02),
        "xz": np.uint8(120),
        "w": integers(np.int8, 4, 3, 3, 3),
        "ws": generator(1).uniform(0.002, 0.006, size).astype(np.float32),
        "wz": np.zeros(size, np.int8),
        "ys": np.float32(0.02),
        "yz": np.uint8(99),
        "b": integers(np.int8, 4).astype(np.int32) * 50,
    }
    proto = model(
        [node("QLinearConv", ["x", *constants], ["y"], pads=[1, 1, 1, 1])],
        (UINT8, (3, 6, 5)),
        [("y", UINT8)],
        constants,
    )
    x = integers(np.uint8, 2, 3, 6, 5)
    sums = np.zeros((2, 4, 6, 5))
    padded = np.pad(x.astype(np.float64) - 120, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for i in range(6):
        for j in range(5):
            sums[:, :, i, j] = np.einsum("nchw,ochw->no", padded[:, :, i : i + 3, j : j + 3], constants["w"])
    sums += constants["b"].reshape(1, -1, 1, 1)
    scale = np.float64(0.02) * np.broadcast_to(constants["ws"], (4,)).astype(np.float64).reshape(1, -1, 1, 1) / 0.02
    wanted = np.clip(np.rint(sums * scale) + 99, 0, 255)
    assert 0.05 < np.isin(wanted, (0, 255)).mean() < 0.95  # some saturate
    np.testing.assert_array_equal(results(tmp_path, proto, x)[0], wanted.astype(np.uint8))


def test_a_product_between_quantised_values(tmp_path):
    constants = {
        "as": np.float32(0.02),
        "az": np.int8(3),
        "b": integers(np.int8, 7, 5),
        "bs": generator(1).uniform(0.01, 0.02, 5).astype(np.float32),
        "bz": integers(np.int8, 5, seed=3) // 16,
        "ys": np.float32(0.5),
        "yz": np.int8(-4),
    }
    proto = model([node("QLinearMatMul", ["x", *constants], ["y"])], (INT8, (4, 7)), [("y", INT8)], constants)
    same(tmp_path, proto, integers(np.int8, 3, 4, 7))


def test_the_range_of_the_values_themselves(tmp_path):
    outputs = [("q", UINT8), ("s", FLOAT), ("z", UINT8)]
    proto = model([node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])], (FLOAT, (3, 4)), outputs, {})
    proto.graph.output.pop()
    proto.graph.output.pop()  # a scale and a zero point of all images are no value with a batch
    x = generator(0).normal(size=(5, 3, 4)).astype(np.float32)
    for shifted in (x, x + 9, x - 9):
        (q,) = results(tmp_path, proto, shifted)
        np.testing.assert_array_equal(q, truth(proto, shifted)[0])
    assert results(tmp_path, proto, x * 0)[0].tolist() == np.zeros((5, 3, 4)).tolist()


def test_a_dynamically_quantised_linear_layer(tmp_path):
    """What ONNX Runtime's quantize_dynamic makes of Gemm."""
    w = integers(np.int8, 7, 5)
    constants = {
        "w": w,
        "wz": np.int8(2),
        "ws": np.float32(0.013),
        "bias": generator(4).normal(size=5).astype("float32"),
    }
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z", "wz"], ["sums"]),
        node("Cast", ["sums"], ["floats"], to=FLOAT),
        node("Mul", ["s", "ws"], ["scale"]),
        node("Mul", ["floats", "scale"], ["numbers"]),
        node("Add", ["numbers", "bias"], ["y"]),
    ]
    proto = model(nodes, (FLOAT, (7,)), [("y", FLOAT)], constants)
    same(tmp_path, proto, generator(1).normal(size=(4, 7)).astype(np.float32))


def test_weights_that_are_stored_as_integers_become_floats_while_the_file_is_read(tmp_path):
    w, s = integers(np.int8, 4, 3, 3, 3), generator(1).uniform(0.01, 0.02, 4).astype(np.float32)
    z = integers(np.int8, 4, seed=2) // 8
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    proto = model(nodes, (FLOAT, (3, 6, 5)), [("y", FLOAT)], {"q": w, "s": s, "z": z})
    same(tmp_path, proto, generator(3).normal(size=(2, 3, 6, 5)).astype(np.float32))
    onnx.save(proto, tmp_path / "net.onnx")
    network = import_file(tmp_path / "net.onnx")
    assert [item.layer.kind for item in network.graph.nodes] == ["conv"]


REFUSED = {
    "float8": (
        {"z": np.zeros((), onnx.helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT8E4M3FN))},
        {},
        "float8_e4m3fn",
    ),
    "blocks": ({"z": np.zeros((2, 3, 2), np.int8)}, {"block_size": 2, "axis": 2}, "block_size=2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_imported_is_refused_by_name_and_node(tmp_path, case):
    constants, attributes, text = REFUSED[case]
    constants = {"s": np.full(constants["z"].shape, 0.5, np.float32), **constants}
    proto = model(
        [node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes)], (FLOAT, (3, 4)), [("q", INT8)], constants
    )
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(SpecError) as raised:
        import_file(tmp_path / "net.onnx")
    assert text in str(raised.value)
    assert "(QuantizeLinear of opset 21)" in str(raised.value)
