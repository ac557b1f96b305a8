"""Quantised values: levels, ties and ranges by hand; exact budgets; what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets.base import Setting, forward_budget
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.layers.quantized import Dequantize, IntegerConv, IntegerMatMul, Quantize


def call(layer, *inputs, weights=()):
    arrays = tuple(np.asarray(x, np.float64) for x in inputs)
    return LayerCall(layer.resolve(tuple(x.shape for x in arrays)), arrays, tuple(weights))


def output(layer, *inputs, weights=()):
    return reference().forward(call(layer, *inputs, weights=weights)).outputs[0]


def budget(layer, *inputs, policy="float32", weights=()):
    made = call(layer, *inputs, weights=weights)
    setting = Setting(made, reference().forward(made), precision(policy), reference())
    return forward_budget(setting).outputs[0]


def test_halves_go_to_the_even_level():
    x = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]])
    assert output(Quantize(), x, 1.0).tolist() == [[-2, -2, 0, 0, 2, 2]]


def test_the_zero_point_is_added_after_rounding_and_before_the_range():
    x = np.array([[-300.0, -0.5, 0.5, 1.5, 300.0]])
    assert output(Quantize(minimum=0, maximum=255), x, 1.0, 3.0).tolist() == [[0, 3, 3, 5, 255]]
    assert output(Quantize(minimum=-8, maximum=7), x, 1.0, -7.0).tolist() == [[-8, -7, -7, -5, 7]]


def test_scales_and_zero_points_lie_along_their_axis():
    x = np.ones((2, 3, 4))
    levels = output(Quantize(axis=1), x, [1.0, 0.5, 0.25], [0.0, 10.0, 20.0])
    assert levels[0, :, 0].tolist() == [1, 12, 24]
    assert output(Quantize(axis=-1), x, [1.0, 0.5, 0.25, 0.125])[1, 2].tolist() == [1, 2, 4, 8]
    numbers = output(Dequantize(axis=2), x * 5, [1.0, 2.0, 3.0, 4.0], [5.0, 4.0, 3.0, 2.0])
    assert numbers[0, 0].tolist() == [0, 2, 6, 12]


def test_a_level_is_exact_but_beside_a_tie():
    beside = 0.7 * (1 + 2**-23)
    x = np.array([[0.2, 0.35, beside / 2, 0.5]])  # of 0.7: 0.29, 0.5, 0.5 and 1 ulp, 0.71
    admitted = budget(Quantize(), x, 0.7).worst
    assert (admitted > 0.5).tolist() == [[False, True, True, False]]


def test_a_tie_is_exact_where_the_scale_is_a_power_of_two():
    x = np.array([[0.25, 0.75, 1.25]])
    assert budget(Quantize(), x, 0.5).worst.max() < 1e-30


def test_saturated_levels_are_exact():
    assert budget(Quantize(), np.array([[1e6, 1e30, -1e30]]), 0.7).worst.max() < 1e-30


def test_sums_of_integers_are_exact_up_to_what_the_accumulator_holds():
    few, many = np.full((1, 100), 255.0), np.full((1, 300), 255.0)
    assert budget(IntegerMatMul(), few, few.T).worst.max() < 1e-30
    assert budget(IntegerMatMul(), many, many.T).worst.max() > 0.5
    assert budget(IntegerMatMul(), many, many.T, policy="float64").worst.max() < 1e-30
    x, w = np.full((1, 3, 8, 8), 255.0), np.full((2, 3, 3, 3), -128.0)
    layer = IntegerConv(out_channels=2, kernel_size=3, bias=False)
    assert budget(layer, x, weights=(w,)).worst.max() < 1e-30


def test_values_that_are_no_integers_have_the_budget_of_a_convolution():
    x, w = np.full((1, 3, 8, 8), 0.3), np.full((2, 3, 3, 3), 0.7)
    layer = IntegerConv(out_channels=2, kernel_size=3, bias=False)
    assert budget(layer, x, weights=(w,)).sharp.min() > 1e-8


@pytest.mark.parametrize(
    ("layer", "shapes", "received"),
    [
        (Quantize(minimum=5, maximum=5), [(1, 3), ()], "5 to 5"),
        (Quantize(maximum=2**25), [(1, 3), ()], str(2**25)),
        (Quantize(), [(1, 3, 4), (4,)], "(4,) along axis 1 of (1, 3, 4)"),
        (Dequantize(axis=2), [(1, 3, 4), (4,), (3,)], "(3,) along axis 2"),
        (Dequantize(axis=5), [(1, 3, 4), (4,)], "5"),
    ],
)
def test_what_does_not_fit_is_named(layer, shapes, received):
    with pytest.raises(SpecError) as raised:
        layer.resolve(tuple(shapes))
    assert received in str(raised.value)
