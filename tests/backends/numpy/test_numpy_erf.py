"""The complementary error function, held by the C library's."""

from __future__ import annotations

import math

import numpy as np
from cnnbench_numpy.erf import erfc


def test_it_is_the_c_library_s_to_a_few_units_in_the_last_place():
    x = np.concatenate([np.linspace(-10, 6, 20001), [-1.0, 1.0, 8.0, 0.0]])
    expected = np.array([math.erfc(v) for v in x])
    assert np.abs(erfc(x) - expected).max() < 5e-16
    assert (np.abs(erfc(x) - expected) / expected).max() < 5e-15


def test_it_keeps_the_dtype_and_knows_the_ends():
    x = np.array([-np.inf, -1e30, 30.0, 1e30, np.inf, np.nan], np.float32)
    y = erfc(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.array([2, 2, 0, 0, 0, np.nan], np.float32))
    small = np.linspace(-4, 4, 4001).astype(np.float32)
    assert np.abs(erfc(small) - np.array([math.erfc(v) for v in small])).max() < 5e-7
