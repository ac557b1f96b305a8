"""Comparisons and logic of ONNX models on computed values: for every pair of special values as NumPy has it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto
from small_onnx import computed, imported, model, numbers, op

from cnnbench.errors import SpecError

VALUES = np.array([-np.inf, -1.5, -1e-40, -0.0, 0.0, 1e-40, 1.5, np.inf, np.nan], np.float32)
A, B = (side.reshape(-1, 1) for side in np.meshgrid(VALUES, VALUES))
COMPARISONS = {
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Equal": np.equal,
}
LOGIC = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}


@pytest.mark.parametrize("name", COMPARISONS)
def test_special_values_compare_as_numbers_do(tmp_path, name):
    proto = model([op(name, "a b")], {"a": ["n", 1], "b": ["n", 1]}, kinds={"y": "b"})
    found = computed(tmp_path, proto, a=A, b=B)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, COMPARISONS[name](A, B))


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("shapes", [((3, 4), ()), ((3, 1), (1, 4)), ((3, 4), (1, 1, 4))])
def test_operands_broadcast(tmp_path, name, shapes):
    x, c = np.round(numbers(2, *shapes[0])), np.round(numbers(*shapes[1], seed=1))
    for inputs, arrays in (("x c", (x, c)), ("c x", (c, x))):
        proto = model([op(name, inputs)], {"x": ["n", *shapes[0]]}, {"c": c}, kinds={"y": "b"})
        np.testing.assert_array_equal(computed(tmp_path, proto, x=x), COMPARISONS[name](*arrays))


@pytest.mark.parametrize("name", LOGIC)
def test_logic_joins_comparisons(tmp_path, name):
    nodes = [op("Greater", "x zero", "p"), op("Less", "x one", "q"), op(name, "p q", "r"), op("Not", "r")]
    constants = {"zero": np.float32(0), "one": np.float32(1)}
    x = numbers(2, 5, 6)
    found = computed(tmp_path, model(nodes, {"x": ["n", 5, 6]}, constants, kinds={"y": "b"}), x=x)
    np.testing.assert_array_equal(found, ~LOGIC[name](x > 0, x < 1))


@pytest.mark.parametrize("images", [1, 3])
def test_a_mask_of_a_comparison_multiplies_and_selects(tmp_path, images):
    nodes = [
        op("Greater", "x zero", "p"),
        op("Cast", "p", "m", to=TensorProto.FLOAT),
        op("Mul", "x m", "a"),
        op("Where", "p a minus"),
    ]
    x = numbers(images, 3, 4)
    proto = model(nodes, {"x": ["n", 3, 4]}, {"zero": np.float32(0), "minus": np.float32(-1)})
    np.testing.assert_array_equal(computed(tmp_path, proto, x=x), np.where(x > 0, x, -1))


def test_computed_integers_are_not_compared(tmp_path):
    proto = model([op("ArgMax", "x", "i", axis=1), op("Equal", "i c")], {"x": ["n", 3]}, {"c": np.int64(0)})
    with pytest.raises(SpecError, match="a comparison of computed integers is not imported") as raised:
        imported(tmp_path, proto)
    assert "node 'equal_y' (Equal of opset 17)" in str(raised.value)


@pytest.mark.torch
def test_a_weight_that_only_a_comparison_reads_is_trained_by_nothing(tmp_path):
    """No gradient reaches any weight: PyTorch has nothing to go back through."""
    from cnnbench import verify

    nodes = [op("MatMul", "x w", "a"), op("Greater", "a zero", "p"), op("Cast", "p", "m", to=TensorProto.FLOAT)]
    constants = {"w": numbers(4, 4, seed=1), "zero": np.float32(0)}
    imported(tmp_path, model([*nodes, op("Mul", "x m")], {"x": ["n", 4]}, constants))
    found = verify(tmp_path / "small.onnx", backends=["torch"], checks=["training"])
    assert "failed" not in {item.status for item in found.backends}
