"""Reference arithmetic, joining, reductions and products, held by SciPy, closed forms and naive loops."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest
from cnnbench_numpy.ops import REFERENCE

from cnnbench.execution.operations import Call
from cnnbench.spec.layers.arithmetic import Clip, Elementwise, Function, Power
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.merge import Maximum, Multiply, PowerOf
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, ReduceFunction, TopK

CALL = Call(training=False, channels_last=False)
LAST = Call(training=False, channels_last=True)
X = np.random.default_rng(3).normal(size=(2, 3, 4, 5))


def run(layer, *inputs, call=CALL):
    return REFERENCE[layer.kind].forward(layer, inputs, (), (), call).outputs


def gradients(layer, inputs, *cotangents, call=CALL):
    operation = REFERENCE[layer.kind]
    saved = operation.forward(layer, inputs, (), (), call).saved
    return operation.backward(layer, saved, cotangents, (), call).inputs


# Each function once more, by the C library or by another of its formulas.
PLAIN = {
    "negate": lambda x: 0 - x,
    "sign": lambda x: (x > 0) - (x < 0),
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "square": lambda x: x * x,
    "rsqrt": lambda x: x**-0.5,
    "reciprocal": lambda x: x**-1,
    "abs": math.fabs,
}
ABOVE_ONE, POSITIVE, INNER = ("acosh",), ("sqrt", "rsqrt", "log", "log1p", "reciprocal"), ("asin", "acos", "atanh")


@pytest.mark.parametrize("name", get_args(Function))
def test_functions_are_those_of_the_c_library(name):
    x = X * 2
    if name in (*POSITIVE, *ABOVE_ONE):
        x = np.abs(x) + (1 if name in ABOVE_ONE else 0.01)
    elif name in INNER:
        x = np.tanh(x)
    plain = PLAIN.get(name) or getattr(math, name)
    expected = np.array([plain(float(value)) for value in x.flat]).reshape(x.shape)
    np.testing.assert_allclose(run(Elementwise(function=name), x)[0], expected, rtol=4e-15, atol=1e-300)


def test_the_error_function_agrees_with_scipy_in_the_tails():
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-7, 7, 2001), [0.0, -0.0, 1e-300, np.inf, -np.inf, np.nan]])
    np.testing.assert_allclose(run(Elementwise(function="erf"), x)[0], special.erf(x), rtol=4e-16)


def test_halves_go_to_the_even_neighbour():
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert run(Elementwise(function="round"), x)[0].tolist() == [-2, -2, 0, 0, 2, 2]


def test_outside_of_its_domain_a_function_is_nan_without_a_word():
    for name in ("sqrt", "log", "rsqrt", "acosh"):
        assert np.isnan(run(Elementwise(function=name), np.array([-2.0]))[0])
    assert np.isnan(run(Power(exponent=0.5), np.array([-2.0]))[0])


def test_a_clip_keeps_nan_and_its_limits():
    x = np.array([-2.0, -1.0, 0.5, 1.0, 2.0, np.nan])
    layer = Clip(minimum=-1.0, maximum=1.0)
    np.testing.assert_array_equal(run(layer, x)[0], [-1, -1, 0.5, 1, 1, np.nan])
    np.testing.assert_array_equal(gradients(layer, (x,), np.ones(6))[0], [0, 1, 1, 1, 0, 1])


@pytest.mark.parametrize("exponent", [-2.0, -0.5, 0.0, 1.0, 1.7, 3.0])
def test_powers_and_their_slope(exponent):
    x = np.abs(X) + 0.1
    np.testing.assert_allclose(run(Power(exponent=exponent), x)[0], np.exp(exponent * np.log(x)), rtol=1e-13)
    slope = gradients(Power(exponent=exponent), (x,), np.ones_like(x))[0]
    np.testing.assert_allclose(slope, exponent * np.exp((exponent - 1) * np.log(x)), rtol=1e-13)


def naive_reduction(function, x, axes):
    """Value by value, with Python's own sums and SciPy's log_sum_exp."""
    special = pytest.importorskip("scipy.special")
    plain = {
        "sum": math.fsum,
        "mean": lambda v: math.fsum(v) / len(v),
        "max": max,
        "min": min,
        "prod": math.prod,
        "l1": lambda v: math.fsum(map(abs, v)),
        "l2": lambda v: math.hypot(*v),
        "sum_square": lambda v: math.fsum(a * a for a in v),
        "log_sum": lambda v: math.log(math.fsum(v)),
        "log_sum_exp": lambda v: float(special.logsumexp(v)),
    }[function]
    kept = [range(1) if axis in axes else range(size) for axis, size in enumerate(x.shape)]
    result = np.empty([len(r) for r in kept])
    for place in itertools.product(*kept):
        index = tuple(slice(None) if axis in axes else p for axis, p in enumerate(place))
        result[place] = plain(x[index].ravel().tolist())
    return result


@pytest.mark.parametrize("axes", [(0,), (1,), (2, 3), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("function", get_args(ReduceFunction))
def test_reductions_are_what_a_loop_finds_in_either_layout(function, axes):
    x = np.abs(X) if function == "log_sum" else X
    expected = naive_reduction(function, x, axes)
    last = np.moveaxis(x, 1, -1)
    layer = Reduce(function=function, axes=axes)
    np.testing.assert_allclose(run(layer, x)[0], expected, rtol=1e-13)
    np.testing.assert_allclose(run(layer, last, call=LAST)[0], np.moveaxis(expected, 1, -1), rtol=1e-13)
    layer = Reduce(function=function, axes=axes, keepdims=False)
    bare = expected.squeeze(axes)
    np.testing.assert_allclose(run(layer, x)[0], bare, rtol=1e-13)
    held = np.moveaxis(bare, 1, -1) if bare.ndim > 2 else bare
    np.testing.assert_allclose(run(layer, last, call=LAST)[0], held, rtol=1e-13)
    g = np.random.default_rng(5).normal(size=bare.shape)
    dx = gradients(layer, (x,), g)[0]
    moved = np.moveaxis(g, 1, -1) if g.ndim > 2 else g
    np.testing.assert_allclose(gradients(layer, (last,), moved, call=LAST)[0], np.moveaxis(dx, 1, -1), rtol=1e-12)


def test_log_sum_exp_neither_overflows_nor_makes_nan():
    layer = Reduce(function="log_sum_exp", axes=(1,), keepdims=False)
    x = np.array([[1e4, 1e4], [-1e4, -1e4], [-np.inf, -np.inf], [np.inf, 0]])
    np.testing.assert_allclose(run(layer, x)[0], [1e4 + math.log(2), -1e4 + math.log(2), -np.inf, np.inf])


def test_a_product_has_a_gradient_beside_zeros():
    layer = Reduce(function="prod", axes=(1,))
    x = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 3.0]])
    np.testing.assert_array_equal(gradients(layer, (x,), np.ones((2, 1)))[0], [[0, 6, 0], [0, 0, 0]])


def test_nothing_is_reduced_to_the_neutral_value():
    empty = np.zeros((2, 0))
    found = {name: run(Reduce(function=name, axes=(1,)), empty)[0][0, 0] for name in get_args(ReduceFunction)}
    expected = {"sum": 0, "l1": 0, "l2": 0, "sum_square": 0, "prod": 1, "max": -np.inf, "min": np.inf}
    assert {name: found[name] for name in expected} == expected
    assert np.isnan(found["mean"])
    assert found["log_sum"] == found["log_sum_exp"] == -np.inf


def test_positions_and_the_largest_few_are_those_of_a_sort():
    x = np.random.default_rng(1).integers(-2, 3, (3, 5, 7)).astype(float)
    for axis in range(3):
        for k in (1, x.shape[axis]):
            rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]).tolist()
            order = [sorted(range(len(row)), key=lambda i, row=row: -row[i])[:k] for row in rows]
            values, positions = run(TopK(k=k, axis=axis), x)
            assert np.moveaxis(positions, axis, -1).reshape(-1, k).tolist() == order
            taken = [[row[i] for i in places] for row, places in zip(rows, order, strict=True)]
            assert np.moveaxis(values, axis, -1).reshape(-1, k).tolist() == taken
        last = run(ArgReduce(function="argmax", axis=axis, keepdims=False, select_last_index=True), x)[0]
        assert last.ravel().tolist() == [max(range(len(row)), key=lambda i, row=row: (row[i], i)) for row in rows]


@pytest.mark.parametrize("turns", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize(("lead_a", "lead_b"), [((2, 3), (2, 3)), ((1, 3), (2, 1)), ((3,), (2, 3)), ((), (2, 3))])
def test_products_and_their_gradients_are_sums_over_indices(lead_a, lead_b, turns):
    draw = np.random.default_rng(2)
    a, b = draw.normal(size=(*lead_a, 4, 5)), draw.normal(size=(*lead_b, 5, 6))
    given = tuple(np.swapaxes(x, -1, -2) if turn else x for x, turn in zip((a, b), turns, strict=True))
    layer = MatMul(transpose_a=turns[0], transpose_b=turns[1])
    expected = np.einsum("...ik,...kj->...ij", a, b)
    np.testing.assert_allclose(run(layer, *given)[0], expected, rtol=1e-12)
    g = draw.normal(size=expected.shape)
    for i, found in enumerate(gradients(layer, given, g)):
        moved = np.zeros_like(given[i])
        for place in itertools.product(*map(range, given[i].shape)):
            unit = np.zeros_like(given[i])
            unit[place] = 1  # the product is linear in each operand
            moved[place] = (run(layer, *(unit if i == j else x for j, x in enumerate(given)))[0] * g).sum()
        np.testing.assert_allclose(found, moved, rtol=1e-10, atol=1e-12)


def test_three_factors_and_three_rivals_share_the_gradient():
    a, b, c = np.array([[2.0, 3.0]]), np.array([[5.0, 3.0]]), np.array([[5.0, 3.0]])
    g = np.ones((1, 2))
    assert [x.tolist() for x in gradients(Multiply(), (a, b, c), g)] == [[[25, 9]], [[10, 9]], [[10, 9]]]
    # pairs from left to right: the first two share what the third leaves them
    assert [x.tolist() for x in gradients(Maximum(), (a, b, c), g)] == [[[0, 0.25]], [[0.5, 0.25]], [[0.5, 0.5]]]


def test_the_gradient_of_an_exponent_is_zero_below_a_positive_base():
    a, b = np.array([[-2.0, 0.0, 0.0, 2.0]]), np.array([[2.0, 0.0, 2.0, 3.0]])
    of_a, of_b = gradients(PowerOf(), (a, b), np.ones((1, 4)))
    assert of_a.tolist() == [[-4, 0, 0, 12]]
    np.testing.assert_allclose(of_b, [[0, 0, 0, 8 * math.log(2)]])
