"""The judge of ONNX's cases: what it lets pass, and everything that it must not."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.conformance.onnx import GROUPS, load_cases
from cnnbench.conformance.onnx.judge import judge
from cnnbench.conformance.onnx.naive import ROUNDED

X = np.array([1.0, -2.0, 4.0], np.float32)


def test_differences_up_to_a_hundred_thousandth_of_the_largest_pass():
    near = X + np.float32(3e-5)
    verdict = judge([X], [near])
    assert verdict.problem == ""
    assert verdict.error == pytest.approx(7.5e-6, rel=0.02)


@pytest.mark.parametrize(
    ("received", "problem"),
    [
        ([X + np.float32(6e-5)], "of the largest"),
        ([X, X], "2 outputs, expected 1"),
        ([], "0 outputs, expected 1"),
        ([X.reshape(1, 3)], r"shape \(1, 3\), expected \(3,\)"),
        ([X.astype(np.float64)], "dtype float64, expected float32"),
        ([np.array([1.0, np.nan, 4.0], np.float32)], "infinities or NaN"),
        ([np.array([1.0, np.inf, 4.0], np.float32)], "infinities or NaN"),
    ],
)
def test_what_differs_in_number_shape_dtype_or_value_fails(received, problem):
    import re

    assert re.search(problem, judge([X], received).problem)


def test_integers_and_booleans_must_be_equal():
    whole = np.array([1, 2], np.int64)
    assert judge([whole], [whole.copy()]).problem == ""
    assert "1 of 2 elements differ" in judge([whole], [np.array([1, 3], np.int64)]).problem
    assert "dtype int64, expected bool" in judge([whole > 0], [whole]).problem


def test_special_values_must_be_where_they_are_expected():
    special = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    assert judge([special], [special.copy()]).problem == ""
    assert judge([special], [-special]).problem


def test_a_result_for_nothing_but_zeros_must_be_zeros():
    zeros = np.zeros(3, np.float32)
    assert judge([zeros], [zeros]).problem == ""
    assert judge([zeros], [zeros + np.float32(1e-30)]).problem


@pytest.mark.parametrize("name", sorted(ROUNDED))
def test_a_rounded_case_is_judged_by_loops_that_agree_with_it_to_four_digits(name):
    pytest.importorskip("onnx")
    case = next(case for case in load_cases(GROUPS) if case.name == name)
    model = case.model()
    (data,) = case.data_sets(model)
    computed = ROUNDED[name](model.graph.node[0], *data.inputs.values())
    assert judge(data.outputs, [computed]).problem  # rounded: beyond 1e-5 ...
    assert judge(data.outputs, [computed], relative=2e-4).problem == ""  # ... and within 2e-4


@pytest.mark.parametrize("name", ["node/test_averagepool_2d_ceil", "node/test_averagepool_2d_pads_count_include_pad"])
def test_the_loops_are_right_where_the_expected_values_are_not_rounded(name):
    pytest.importorskip("onnx")
    case = next(case for case in load_cases() if case.name == name)
    model = case.model()
    (data,) = case.data_sets(model)
    computed = ROUNDED["node/test_averagepool_2d_ceil_last_window_starts_on_pad"](model.graph.node[0], data.inputs["x"])
    assert judge(data.outputs, [computed]).problem == ""
