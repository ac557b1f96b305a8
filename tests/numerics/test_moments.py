"""A sum's drift against sums that are held in float32, one term after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.numerics.budgets.moments import Statistics, drift, most_repeated
from cnnbench.numerics.rounding import Roundoff, sharp_factor

SINGLE = 2.0**-24
COUNT = 30_000


def relative_error_of_float32(terms):
    exact = math.fsum(terms)
    return abs(float(np.add.accumulate(terms.astype(np.float32))[-1]) - exact) / math.fsum(np.abs(terms))


def float32(values):
    return np.asarray(values, np.float32).astype(np.float64)


def clustered(generator):
    return float32(0.7003 + 1e-4 * generator.normal(size=COUNT))


def outliers_first(generator):
    values = np.square(0.02 * generator.normal(size=COUNT))
    values[:100] = 25 + generator.normal(size=100)
    return float32(values)


@pytest.mark.parametrize("draw", [clustered, outliers_first])
@pytest.mark.parametrize("seed", range(8))
def test_drift_holds_what_a_plain_sum_errs_where_the_sharp_factor_alone_does_not(draw, seed):
    terms = draw(np.random.default_rng(seed))
    error, sharp = relative_error_of_float32(terms), sharp_factor(COUNT, SINGLE)
    assert error <= sharp + drift(terms, (0,), SINGLE)[0]
    assert drift(terms, (0,), SINGLE)[0] > sharp


def test_the_sharp_factor_alone_is_exceeded_by_a_plain_sum_of_such_terms():
    worst = max(relative_error_of_float32(outliers_first(np.random.default_rng(seed))) for seed in range(8))
    assert worst > sharp_factor(COUNT, SINGLE)


@pytest.mark.parametrize("terms", ["normal", "uniform", "squares"])
def test_terms_that_spread_have_no_drift(terms):
    generator = np.random.default_rng(3)
    values = {
        "normal": generator.normal(size=COUNT),
        "uniform": generator.uniform(size=COUNT),
        "squares": np.square(generator.normal(size=COUNT)),
    }[terms]
    assert drift(values, (0,), SINGLE) == 0


def test_a_repeated_value_drifts_by_half_a_unit_each_time_and_zeros_do_not():
    values = np.concatenate([np.full(900, 0.3), np.zeros(5000), np.random.default_rng(0).normal(size=100)])
    assert drift(values, (0,), SINGLE)[0] >= 450 * SINGLE
    assert drift(np.zeros(5000), (0,), SINGLE)[0] == 0


def test_each_sum_has_its_own_drift_and_short_sums_have_none():
    generator = np.random.default_rng(1)
    terms = np.stack([generator.normal(size=4000), float32(np.full(4000, 0.1))])[np.newaxis]
    found = drift(terms, (0, 2), SINGLE)
    assert found.shape == (1, 2, 1)
    assert found[0, 0, 0] == 0
    assert found[0, 1, 0] >= 2000 * SINGLE
    assert not drift(np.ones((3, 16)), (1,), SINGLE).any()


def test_most_repeated_counts_the_most_frequent_value():
    assert most_repeated(np.array([3.0, 1.0, 3.0, 2.0, 3.0])) == 3
    assert most_repeated(np.array([1.0, 2.0])) == 0
    assert most_repeated(np.array([])) == 0


def test_statistics_are_those_of_the_axes_given():
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 5))
    found = Statistics(x, (0, 2, 3), 1e-5, Roundoff(SINGLE, SINGLE, 0.0, 2.0**-126))
    assert found.count == 40
    np.testing.assert_allclose(found.mean.ravel(), x.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(found.variance.ravel(), x.var(axis=(0, 2, 3)))
    np.testing.assert_allclose(found.inverse, 1 / np.sqrt(found.variance + 1e-5))
