"""Roundoffs and rounding, held by exact fractions, by struct and by naive loops."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from cnnbench.execution.precision import PRECISIONS, precision
from cnnbench.numerics.rounding import Roundoff, gamma, host_dtype, sharp_factor, to_storage


def naive_bfloat16(value: float) -> float:
    """The nearest float32 whose lower 16 bits are zero, ties to the even one."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    low, high = bits & 0xFFFF0000, (bits & 0xFFFF0000) + 0x10000
    below, above = (struct.unpack("<f", struct.pack("<I", b))[0] for b in (low, high))
    to_below, to_above = (abs(Fraction(value) - Fraction(x)) for x in (below, above))
    if to_below == to_above:
        return below if not (low >> 16) & 1 else above
    return below if to_below < to_above else above


def test_bfloat16_rounds_to_nearest_even():
    values = np.random.default_rng(0).normal(size=500).astype(np.float32)
    ties = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -(1 + 2.0**-8)], np.float32)
    values = np.concatenate([values, ties])
    got = to_storage(values, precision("bfloat16"))
    assert got.tolist() == [naive_bfloat16(float(v)) for v in values]


@pytest.mark.parametrize("name", sorted(PRECISIONS))
def test_rounding_moves_a_value_by_at_most_the_unit_roundoff_and_twice_changes_nothing(name):
    policy = precision(name)
    values = np.random.default_rng(1).normal(size=2000)
    once = to_storage(values, policy)
    assert once.dtype == host_dtype(policy)
    assert np.all(np.abs(once.astype(float) - values) <= policy.storage_roundoff * np.abs(values) * (1 + 2e-7))
    assert to_storage(once, policy).tobytes() == once.tobytes()


def test_scalars_and_infinities_keep_their_shape_and_value():
    policy = precision("bfloat16")
    assert to_storage(np.asarray(0.5), policy).shape == ()
    special = to_storage(np.array([np.inf, -np.inf, np.nan]), policy)
    assert special[0] == np.inf
    assert special[1] == -np.inf
    assert np.isnan(special[2])


def test_gamma_bounds_a_sum_of_all_positive_terms_and_is_nearly_reached_by_none():
    u = 2.0**-24
    assert gamma(1, u) == pytest.approx(u, rel=1e-6)
    assert gamma(2**24, u) == math.inf
    terms = np.random.default_rng(2).uniform(0, 1, 4096).astype(np.float32)
    naive = np.float32(0)
    for term in terms:
        naive = np.float32(naive + term)
    exact = math.fsum(map(float, terms))
    relative = abs(float(naive) - exact) / exact
    assert relative <= gamma(4096, u)
    assert relative <= sharp_factor(4096, u)


def test_the_sharp_factor_never_exceeds_the_worst_case():
    for count in (1, 2, 3, 4, 5, 100, 10**6):
        assert sharp_factor(count, 2.0**-24) <= gamma(count, 2.0**-24)


def test_only_tf32_rounds_its_operands_beyond_their_storage():
    rounding = {name: Roundoff.of(policy).operand for name, policy in PRECISIONS.items()}
    assert rounding["tf32"] == 2 * 2.0**-11
    assert [name for name, value in rounding.items() if value] == ["tf32"]
