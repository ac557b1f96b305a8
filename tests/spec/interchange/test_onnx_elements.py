"""Einsum, and operators that read and write at positions: against NumPy, and as PyTorch exports them."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.execution.backends import load_backend  # noqa: E402
from cnnbench.execution.contract import ProgramOptions  # noqa: E402
from cnnbench.execution.precision import precision  # noqa: E402
from cnnbench.spec.interchange.onnx_file import prepare  # noqa: E402
from cnnbench.spec.interchange.onnx_import import import_file, import_model  # noqa: E402
from cnnbench.spec.weights import split_state  # noqa: E402

DOUBLE, INT64 = TensorProto.DOUBLE, TensorProto.INT64


def model(op, inputs, constants=(), opset=18, outputs=("y",), **attributes):
    """A model of one node: inputs by name with their shapes, and constants."""
    graph = helper.make_graph(
        [helper.make_node(op, [*inputs, *constants], list(outputs), "node", **attributes)],
        "g",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, DOUBLE, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def forward(network, batch):
    program = load_backend("numpy").compile_forward(network.graph, ProgramOptions("reference", precision("float64")))
    program.load(*split_state(network.graph, network.arrays))
    result = program.download(program.run(program.upload({o: batch[n] for o, n in network.inputs.items()})))
    return network.results(result.outputs)


def drawn(*shape, seed=0):
    return np.random.default_rng([3, seed, *shape]).normal(size=shape)


SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6, "B": 2, "H": 3}
EQUATIONS = [
    "ab,bc->ac",
    "ab,cb->ca",
    "ab,bc",
    "cb,ba",
    "abc,ace->abe",
    "abcd,abed->abce",  # attention's logits
    "abce,abed->abcd",
    "ab,ac->abc",
    "ab,cd->acbd",
    "a,b->ab",
    "a,a->",
    "a,a->a",
    "ab,ab->",
    "abc,b->ac",
    "abc->b",
    "abc->cab",
    "abc",
    "ba",
    "aab->ab",
    "aab->b",
    "aa->",
    "abcd,ecd->abe",
    "ab,bc,cd->ad",
    "ab,bc,ac->b",
    "...ab,...bc->...ac",
    "a...,b...->ab...",
    "...,...->...",
    "...a->...",
    "B H a , H a b -> B b",
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_is_numpys(equation):
    text = equation.replace(" ", "")
    parts = text.partition("->")[0].split(",")
    values = {}
    for i, part in enumerate(parts):
        before, dots, after = part.partition("...")
        shape = [*(SIZES[k] for k in before), *((4, 3) if dots else ()), *(SIZES[k] for k in after)]
        values[f"x{i}"] = drawn(*shape, seed=i)
    proto = model("Einsum", {name: (DOUBLE, x.shape) for name, x in values.items()}, equation=equation)
    (y,) = forward(import_model(prepare(proto)), values)
    wanted = np.einsum(text, *values.values())
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=1e-11, atol=1e-12)


def test_einsum_with_an_open_batch_and_a_matrix_that_the_model_holds(tmp_path):
    for equation, shape in (("bhwc,cd->bhwd", (4, 5)), ("cd,bhwc->dbhw", (4, 5)), ("bhwc,wd->bhcd", (3, 5))):
        matrix_first = equation.startswith("cd")
        names = ["m", "x"] if matrix_first else ["x", "m"]
        node = helper.make_node("Einsum", names, ["e"], "einsum", equation=equation)
        nodes = [node]
        if matrix_first:
            nodes.append(helper.make_node("Transpose", ["e"], ["y"], "turned", perm=[1, 2, 3, 0]))
        matrix = drawn(*shape)
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", DOUBLE, ["n", 2, 3, 4])],
            [helper.make_tensor_value_info("y" if matrix_first else "e", DOUBLE, None)],
            [numpy_helper.from_array(matrix, "m")],
        )
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
        network = import_file(path)
        for n in (1, 3):
            x = drawn(n, 2, 3, 4)
            wanted = np.einsum(equation, *((matrix, x) if matrix_first else (x, matrix)))
            wanted = wanted.transpose(1, 2, 3, 0) if matrix_first else wanted
            np.testing.assert_allclose(forward(network, {"x": x})[0], wanted, rtol=1e-11)


@pytest.mark.parametrize(
    ("equation", "received"),
    [("ab,bc->ad", "ab,bc->ad"), ("ab->ab", "of 2"), ("abc,bc->a", "'abc'"), ("a?b,bc", "a?b")],
)
def test_an_equation_that_does_not_fit_is_named(equation, received):
    proto = model("Einsum", {"x": (DOUBLE, (2, 3)), "z": (DOUBLE, (3, 4))}, equation=equation)
    with pytest.raises(SpecError) as raised:
        import_model(prepare(proto))
    assert received in str(raised.value)
    assert "node 'node' (Einsum of opset 18)" in str(raised.value)


def against_the_reference(proto, batch):
    (y,) = forward(import_model(prepare(proto)), batch)
    (wanted,) = ReferenceEvaluator(proto).run(None, batch)
    np.testing.assert_array_equal(y, wanted)
    return y


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements_are_gathered_along_an_axis(axis):
    x = drawn(3, 4, 5)
    indices = np.random.default_rng(1).integers(-3, 3, (2, 3, 5))
    proto = model("GatherElements", {"x": (DOUBLE, x.shape)}, {"i": indices}, axis=axis)
    wanted = np.empty(indices.shape)
    for place in np.ndindex(*indices.shape):
        source = list(place)
        source[axis] = indices[place]
        wanted[place] = x[tuple(source)]
    np.testing.assert_array_equal(forward(import_model(prepare(proto)), {"x": x})[0], wanted)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_computed_indices_of_elements_are_read_by_the_backend(axis):
    x = drawn(3, 4, 5)
    shape = [3, 4, 5]
    shape[axis] = 2
    indices = np.random.default_rng(1).integers(0, 3, shape)
    proto = model("GatherElements", {"x": (DOUBLE, x.shape), "i": (INT64, indices.shape)}, axis=axis)
    network = import_model(prepare(proto))
    assert set(network.inputs.values()) == {"x", "i"}
    np.testing.assert_array_equal(forward(network, {"x": x, "i": indices})[0], np.take_along_axis(x, indices, axis))


@pytest.mark.parametrize(
    ("shared", "shape"), [(0, (2, 6, 3)), (0, (7, 1)), (1, (3, 2, 2)), (1, (3, 1)), (2, (3, 4, 2, 1))]
)
def test_parts_are_gathered_at_rows_of_indices(shared, shape):
    x = drawn(3, 4, 5, 2)
    indices = np.random.default_rng(1).integers(-2, 2, shape)
    proto = model("GatherND", {"x": (DOUBLE, x.shape)}, {"i": indices}, batch_dims=shared)
    against_the_reference(proto, {"x": x})


REDUCTIONS = ["none", "add", "mul", "max", "min"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_parts_are_written_at_rows_of_indices(reduction):
    x, updates = drawn(3, 4, 5), drawn(6, 5, seed=1)
    indices = np.array([[0, 1], [2, 3], [-1, 0], [0, 0], [1, 2], [1, 1]])
    if reduction != "none":
        indices[3:] = [[0, 1], [2, 3], [0, 1]]  # the same place twice and three times
    proto = model("ScatterND", {"x": (DOUBLE, x.shape)}, {"i": indices, "u": updates}, reduction=reduction)
    wanted = x.copy()
    function = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    for row, update in zip(indices, updates, strict=True):
        place = tuple(row)
        wanted[place] = update if reduction == "none" else function[reduction](wanted[place], update)
    (y,) = forward(import_model(prepare(proto)), {"x": x})
    np.testing.assert_allclose(y, wanted, rtol=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements_are_written_along_an_axis(axis, reduction):
    x, updates = drawn(3, 4, 5), drawn(2, 3, 4, seed=1)
    indices = np.random.default_rng(1).integers(-3, 3, updates.shape)
    if reduction == "none":  # places that come once
        indices = np.broadcast_to(
            np.arange(updates.shape[axis]).reshape([-1 if a == axis % 3 else 1 for a in range(3)]), updates.shape
        )[::-1].copy()
    proto = model(
        "ScatterElements", {"x": (DOUBLE, x.shape)}, {"i": indices, "u": updates}, axis=axis, reduction=reduction
    )
    wanted = x.copy()
    function = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    for place in np.ndindex(*updates.shape):
        target = list(place)
        target[axis] = indices[place]
        target = tuple(target)
        wanted[target] = updates[place] if reduction == "none" else function[reduction](wanted[target], updates[place])
    (y,) = forward(import_model(prepare(proto)), {"x": x})
    np.testing.assert_allclose(y, wanted, rtol=1e-12)


def test_updates_may_be_an_input_and_scatter_is_the_older_name():
    x, updates = drawn(3, 4), drawn(2, 4, seed=1)
    indices = np.array([[0, 1, 2, 0], [2, 0, 1, 1]])
    graph = helper.make_graph(
        [helper.make_node("Scatter", ["x", "i", "u"], ["y"], "node", axis=0)],
        "g",
        [helper.make_tensor_value_info(n, DOUBLE, list(a.shape)) for n, a in (("x", x), ("u", updates))],
        [helper.make_tensor_value_info("y", DOUBLE, None)],
        [numpy_helper.from_array(indices, "i")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=5)
    wanted = x.copy()
    np.put_along_axis(wanted, indices, updates, axis=0)
    (y,) = forward(import_model(prepare(proto)), {"x": x, "u": updates})
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize(
    ("op", "indices", "text"),
    [
        ("GatherND", (INT64, (2, 2)), "computed indices of several axes"),
        ("GatherElements", (INT64, (2, 3)), "computed indices have another shape"),
        ("ScatterND", (INT64, (2, 2)), "computed indices are not imported"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(op, indices, text):
    inputs = {"x": (DOUBLE, (4, 5)), "i": indices}
    proto = model(op, inputs, {"u": drawn(2)} if op == "ScatterND" else {})
    with pytest.raises(SpecError) as raised:
        import_model(prepare(proto))
    assert text in str(raised.value)
    assert f"node 'node' ({op} of opset 18)" in str(raised.value)


@pytest.mark.parametrize(("op", "indices"), [("GatherND", [[0, 5]]), ("GatherElements", [[0, 4]])])
def test_an_index_outside_its_axis_is_refused(op, indices):
    proto = model(op, {"x": (DOUBLE, (4, 5))}, {"i": np.array(indices)})
    with pytest.raises(SpecError, match="an index lies outside its axis"):
        import_model(prepare(proto))


@pytest.mark.parametrize("images", [[1, 0, 1, 2], [0, 0, 0, 0]])
def test_regions_whose_images_the_model_fixes_in_the_oldest_and_the_newest_form(images):
    x = drawn(3, 2, 9, 8).astype(np.float32)
    boxes = np.array([[1, 1, 6, 7], [0, 2, 5, 5.5], [2, 0, 7, 3], [0.5, 0.5, 4, 4]], np.float32)
    attributes = {"output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.75}
    found = {}
    for opset, extra in ((10, {}), (16, {"coordinate_transformation_mode": "output_half_pixel"})):
        node = helper.make_node("RoiAlign", ["x", "r", "i"], ["y"], "node", **attributes, **extra)
        graph = helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(boxes, "r"), numpy_helper.from_array(np.array(images), "i")],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        (found[opset],) = forward(import_model(prepare(proto)), {"x": x})
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_allclose(found[16], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[10], found[16])


EXPORTS = ["assigned", "assigned_rows", "gathered", "attention", "added"]


@pytest.mark.torch
@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("is_open", [False, True], ids=["fixed", "open"])
def test_what_pytorch_exports_as_them_is_read_equal(tmp_path, name, is_open):
    torch = pytest.importorskip("torch")

    def assigned(x):
        y = x.clone()
        y[:, 1, 2:4] = x[:, 0, 1:3] * 2
        return y

    def assigned_rows(x):
        y = x.clone()
        y[:, [3, 0]] = 7.0
        return y

    def gathered(x):
        index = torch.tensor([[[2, 0, 1, 1, 0]]]).expand(x.shape[0], 3, 5)
        return torch.gather(x, 1, index)

    def attention(x):
        weights = torch.einsum("bqd,bkd->bqk", x, x * 2).softmax(-1)
        return torch.einsum("bqk,bkd->bqd", weights, x)

    def added(x):
        index = torch.tensor([3, 0, 2])  # the exporter loses a row that comes twice
        return x.index_add(1, index, x[:, :3] * 3)

    functions = {f.__name__: f for f in (assigned, assigned_rows, gathered, attention, added)}

    class Net(torch.nn.Module):
        def forward(self, x):
            return functions[name](x)

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Net(),
            (torch.randn(2, 4, 5),),
            buffer,
            dynamo=False,
            opset_version=16,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}} if is_open else None,
        )
    path = tmp_path / "net.onnx"
    path.write_bytes(buffer.getvalue())
    network = import_file(path)
    for n in (1, 3) if is_open else (2,):
        x = torch.randn(n, 4, 5)
        with torch.no_grad():
            wanted = Net()(x).numpy()
        np.testing.assert_allclose(forward(network, {"x": x.numpy()})[0], wanted, rtol=1e-5, atol=1e-6)
