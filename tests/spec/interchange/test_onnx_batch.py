"""The batch of an ONNX model: open through all arithmetic of shapes, opened where a file fixes it, or kept as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("onnx")

from small_onnx import imported, model, numbers, op, results

from cnnbench.errors import SpecError
from cnnbench.spec.interchange.onnx_batch import BATCHES, NUM, multiple_of_batch, shape_of, size_of

CLASS_TOKEN = numbers(1, 1, 4, seed=7)


class TestSizes:
    """A size that depends on the batch."""

    def test_it_is_computed_with_as_an_integer(self):
        assert NUM * 4 // 2 == 2 * NUM
        assert math.prod((NUM, 3, 4)) == 12 * NUM
        assert (NUM * 6) // (NUM * 2) == 3
        assert NUM - NUM == 0
        assert multiple_of_batch(3 * NUM) == 3
        assert multiple_of_batch(NUM + 1) is None
        assert multiple_of_batch(NUM * NUM) is None

    def test_it_is_never_one(self):
        assert NUM != 1
        assert (NUM, 3)[:1] != (1,)

    def test_it_is_no_plain_integer(self):
        with pytest.raises(SpecError, match="depends on the batch size"):
            np.ones((NUM, 2))

    @pytest.mark.parametrize(
        "use",
        [lambda n: n * 0.5, lambda n: 0.5 * n, lambda n: n / 2, lambda n: 2 / n, lambda n: n - 0.5, lambda n: 0.5 + n],
        ids=["scaled", "scaling", "halved", "dividing", "less", "more"],
    )
    def test_it_is_in_no_quotient_and_takes_no_fraction(self, use):
        with pytest.raises(SpecError, match="depends on the batch size"):
            use(NUM)

    def test_an_answer_that_depends_on_the_batch_is_refused(self):
        assert NUM > 0
        with pytest.raises(SpecError, match="depends on the batch size"):
            bool(NUM > 2)

    @pytest.mark.parametrize(
        ("size", "text"), [(NUM, "N"), (4 * NUM, "4*N"), (NUM - 1, "N-1"), (NUM * NUM, "1 at N=1 / 4 at N=2")]
    )
    def test_it_is_shown_as_a_multiple(self, size, text):
        assert repr(size).startswith(text)

    def test_what_agrees_for_every_batch_is_an_integer(self):
        assert size_of([5] * len(BATCHES)) == 5
        assert isinstance(size_of([5] * len(BATCHES)), int)
        with pytest.raises(SpecError, match="the rank of a value depends on the batch size"):
            shape_of([(1,), (2,), (3, 3), (4,)])


def batch_size(name="n"):
    """Nodes that read the batch size of ``x`` as ``name`` (a list of one) and ``<name>_scalar``."""
    return [
        op("Shape", "x", f"{name}_shape"),
        op("Gather", f"{name}_shape zero", f"{name}_scalar"),
        op("Unsqueeze", f"{name}_scalar first", name),
    ]


INDICES = {"zero": np.int64(0), "first": np.array([0])}
WINDOWS = [
    op("Reshape", "x s1", "a"),
    op("Transpose", "a", "b", perm=[0, 1, 3, 2, 4, 5]),
    op("Reshape", "b s2", "c"),
    op("Softmax", "c", "d", axis=1),
    op("Reshape", "d s3", "e"),
    op("Transpose", "e", "f", perm=[0, 1, 3, 2, 4, 5]),
    op("Reshape", "f s4"),
]


def in_windows(x):
    y = x.reshape(-1, 2, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 4, 3)
    y = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    return y.reshape(-1, 2, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(x.shape)


def _maxima(x):
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((-1, -2))


def _positive(x):
    return np.maximum(x, 0).ravel()


ROW = numbers(3, 4, seed=8)
CASES = {
    "class_token": (
        [
            *batch_size(),
            op("Concat", "n one size", "target", axis=0),
            op("Expand", "token target", "t"),
            op("Concat", "t x", axis=1),
        ],
        {"token": CLASS_TOKEN, "one": np.array([1]), "size": np.array([4])},
        (3, 4),
        lambda x: np.concatenate([np.repeat(CLASS_TOKEN, len(x), 0), x], 1),
    ),
    "tiled_token": (
        [
            *batch_size(),
            op("Concat", "n one one", "repeats", axis=0),
            op("Tile", "token repeats", "t"),
            op("Concat", "t x", axis=1),
        ],
        {"token": CLASS_TOKEN, "one": np.array([1])},
        (3, 4),
        lambda x: np.concatenate([np.repeat(CLASS_TOKEN, len(x), 0), x], 1),
    ),
    "zeros_joined": (
        [
            *batch_size(),
            op("Concat", "n tail", "target", axis=0),
            op("ConstantOfShape", "target", "z"),
            op("Concat", "x z", axis=1),
        ],
        {"tail": np.array([1, 4, 4])},
        (3, 4, 4),
        lambda x: np.concatenate([x, np.zeros((len(x), 1, 4, 4))], 1),
    ),
    "rows_before_the_batch": (
        [
            *batch_size(),
            op("Concat", "three n four", "target", axis=0),
            op("Expand", "row target", "r"),
            op("Transpose", "r", "t", perm=[1, 0, 2]),
            op("Add", "x t"),
        ],
        {"row": ROW[:, np.newaxis], "three": np.array([3]), "four": np.array([4])},
        (3, 4),
        lambda x: x + ROW,
    ),
    "tiled_rows": (
        [
            *batch_size(),
            op("Concat", "n one", "repeats", axis=0),
            op("Tile", "row repeats", "t"),
            op("Reshape", "x flat", "a"),
            op("Add", "a t"),
        ],
        {"row": ROW, "one": np.array([1]), "flat": np.array([-1, 4])},
        (3, 4),
        lambda x: (x + ROW).reshape(-1, 4),
    ),
    "divided_by_the_batch_size": (
        [*batch_size(), op("Cast", "n_scalar", "f", to=1), op("Div", "x f")],
        {},
        (3,),
        lambda x: x / len(x),
    ),
    "root_of_the_batch_size": (
        [*batch_size(), op("Cast", "n_scalar", "f", to=1), op("Sqrt", "f", "r"), op("Mul", "x r")],
        {},
        (3,),
        lambda x: x * np.sqrt(len(x)),
    ),
    "windows": (WINDOWS, {}, (4, 4, 3), in_windows),
    "windows_by_arithmetic": (
        [
            op("Shape", "x", "shape"),
            op("Gather", "shape zero", "n"),
            op("Mul", "n windows", "count"),
            op("Unsqueeze", "count first", "count1"),
            op("Concat", "count1 tail", "s2", axis=0),
            *WINDOWS[:4],
            op("Shape", "d", "back"),
            op("Gather", "back zero", "m"),
            op("Cast", "m", "mf", to=1),
            op("Div", "mf fwindows", "nf"),
            op("Cast", "nf", "ni", to=7),
            op("Unsqueeze", "ni first", "n1"),
            op("Concat", "n1 s3tail", "s3", axis=0),
            *WINDOWS[4:],
        ],
        {
            "windows": np.int64(4),
            "fwindows": np.float32(4),
            "tail": np.array([4, 3]),
            "s3tail": np.array([2, 2, 2, 2, 3]),
        },
        (4, 4, 3),
        in_windows,
    ),
    "all_in_one_axis": ([op("Relu", "x", "a"), op("Reshape", "a all")], {"all": np.array([-1])}, (5,), _positive),
    "batch_in_the_middle": (
        [
            op("Transpose", "x", "t", perm=[1, 0, 2]),
            op("Reshape", "t heads", "h"),
            op("Transpose", "h", perm=[1, 0, 2]),
        ],
        {"heads": np.array([3, -1, 2])},
        (3, 4),
        lambda x: x.transpose(1, 0, 2).reshape(3, -1, 2).transpose(1, 0, 2),
    ),
    "cropped": (
        [op("Pad", "x pads")],
        {"pads": np.array([0, 0, -1, 0, 1, -2])},
        (3, 6),
        lambda x: np.pad(x[:, :, 1:-2], ((0, 0), (0, 1), (0, 0))),
    ),
    "padded_images": (
        [op("Pad", "x pads")],
        {"pads": np.array([1, 0, 0, 0])},
        (3,),
        lambda x: np.pad(x, ((1, 0), (0, 0))),
    ),
    "all_but_the_first": (
        [op("Slice", "x one end zeros")],
        {"one": np.array([1]), "end": np.array([2**62]), "zeros": np.array([0])},
        (3,),
        lambda x: x[1:],
    ),
    "up_to_the_last": (
        [*batch_size(), op("Sub", "n first1", "m"), op("Slice", "x first m first")],
        {"first1": np.array([1])},
        (3,),
        lambda x: x[:-1],
    ),
    **{
        f"strided_view_{name}": (  # as PyTorch 2 exports a view with strides of its own
            [
                op("Reshape", "x flat", "f"),
                *batch_size(),
                op("Range", "zero n_scalar one", "r"),
                op("Mul", "r size", "m"),
                op("Unsqueeze", "m second", "starts"),
                op("Add", "starts within", "at"),
                op("Gather", "f at"),
            ],
            {
                "flat": np.array([-1]),
                "one": np.int64(1),
                "size": np.int64(12),
                "second": np.array([1]),
                "within": np.array(within),
            },
            (3, 4),
            lambda x, within=within: x.reshape(-1, 12)[:, within],
        )
        for name, within in {"of_all": range(12), "of_some": [0, 3, 3, 11]}.items()
    },
    "written_at_every_position_of_every_image": (  # as PyTorch exports attention[:, :, i:, j:] += ...
        [
            *batch_size(),
            op("Range", "zero n_scalar one", "r"),
            op("Unsqueeze", "r others", "r4"),
            op("Expand", "r4 n_shape", "image"),
            op("Unsqueeze", "image last", "image5"),
            op("Concat", "n_shape three", "all", axis=0),
            op("Expand", "within all", "rest"),
            op("Concat", "image5 rest", "at", axis=-1),
            op("Neg", "x", "u"),
            op("ScatterND", "x at u"),
        ],
        {
            "one": np.int64(1),
            "others": np.array([1, 2, 3]),
            "last": np.array([-1]),
            "three": np.array([3]),
            "within": np.stack(np.indices((2, 40, 20)), -1),
        },
        (2, 40, 20),
        lambda x: -x,
    ),
    "positions_before_the_batch": (  # as PyTorch 2 exports an index into the spatial axes
        [
            op("Transpose", "x", "t", perm=[2, 3, 0, 1]),
            op("GatherND", "t at", "g"),
            op("Transpose", "g", perm=[2, 3, 0, 1]),
        ],
        {"at": np.stack([np.array([[1, 0], [3, 3]]), np.array([[0, 4], [-1, 2]])], -1)},
        (3, 4, 5),
        lambda x: x[:, :, [[1, 0], [3, 3]], [[0, 4], [-1, 2]]],
    ),
    "written_before_the_batch": (
        [
            op("Transpose", "x", "t", perm=[1, 0, 2]),
            op("Slice", "t zeros one zeros", "u"),
            op("ScatterND", "t at u", "s"),
            op("Transpose", "s", perm=[1, 0, 2]),
        ],
        {"at": np.array([[2]]), "zeros": np.array([0]), "one": np.array([1])},
        (3, 4),
        lambda x: x[:, [0, 1, 0]],
    ),
    "maxima_within_infinite_pads": (
        [op("Pad", "x pads low", "p"), op("MaxPool", "p", kernel_shape=[3, 3], strides=[2, 2])],
        {"pads": np.array([0, 0, 0, 1, 0, 0, 1, 0]), "low": np.float32(-np.inf)},
        (2, 4, 4),
        lambda x: _maxima(np.pad(x, ((0, 0), (0, 0), (0, 1), (1, 0)), constant_values=-np.inf)),
    ),
    "doubled_batch": ([op("Concat", "x x", axis=0)], {}, (3,), lambda x: np.concatenate([x, x])),
    "tiled_images": ([op("Tile", "x two")], {"two": np.array([2, 1])}, (3,), lambda x: np.tile(x, (2, 1))),
    "mean_of_the_batch": (
        [op("ReduceMean", "x", "m", axes=[0], keepdims=1), op("Sub", "x m")],
        {},
        (3,),
        lambda x: x - x.mean(0, keepdims=True),
    ),
}
SHAPES = {
    "s1": np.array([-1, 2, 2, 2, 2, 3]),
    "s2": np.array([-1, 4, 3]),
    "s3": np.array([-1, 2, 2, 2, 2, 3]),
    "s4": np.array([-1, 4, 4, 3]),
}


@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("name", CASES)
def test_an_open_batch_stays_open(tmp_path, name, images):
    nodes, constants, shape, expected = CASES[name]
    computed_here = {output for node in nodes for output in node.output}
    held = {key: value for key, value in {**INDICES, **SHAPES, **constants}.items() if key not in computed_here}
    network = imported(tmp_path, model(nodes, {"x": ["n", *shape]}, held))
    assert [item.batched for item in network.graph.inputs] == [True]
    x = numbers(images, *shape)
    (found,) = results(network, x=x)
    assert found.shape == expected(x).shape
    np.testing.assert_allclose(found, expected(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([op("Reshape", "x to")], {"to": np.array([4, 2, 3])}, "the shape does not hold as many values"),
        ([op("Split", "x to", "y z", axis=0)], {"to": np.array([1, 1])}, "cannot be computed for a batch of 1"),
        ([op("Add", "x to")], {"to": numbers(2, 6)}, "cannot be computed for a batch of 3"),
        (
            [*batch_size(), op("Div", "n two", "h"), op("Slice", "x first h first")],
            {"two": np.array([2])},
            "where a slice ends depends on the batch size",
        ),
        (
            [*batch_size(), op("Range", "zero n_scalar one", "r"), op("Cast", "r", "f", to=1), op("Add", "x f")],
            {"one": np.int64(1)},
            "depend on the batch size",
        ),
    ],
)
def test_what_serves_one_batch_only_is_refused_with_file_node_and_opset(tmp_path, nodes, constants, message):
    with pytest.raises(SpecError, match=message) as raised:
        imported(tmp_path, model(nodes, {"x": ["n", 6]}, {**INDICES, **constants}))
    assert f"small.onnx: node '{nodes[-1].op_type.lower()}_y' ({nodes[-1].op_type} of opset 17)" in str(raised.value)
