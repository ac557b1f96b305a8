"""Running errors: what a gate's function and a product may move by, however large the errors of their operands."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.numerics.budgets.gates import gate_slope, gate_value
from cnnbench.numerics.budgets.running_error import Arithmetic, Tracked, exactly
from cnnbench.numerics.rounding import Roundoff, gamma
from cnnbench.spec.layers.gates import GATE_FUNCTIONS, Gate

WITHOUT_ROUNDING = Arithmetic(Roundoff(0.0, 0.0, 0.0, 0.0), gamma)
NUMBERS = {"affine": (0.7, 0.1), "scaled_tanh": (1.7, 0.6)}
SLACK = 1 + 1e-9


def _gate(name: str) -> Gate:
    return Gate(name, *(NUMBERS.get(name) or GATE_FUNCTIONS[name]))


@pytest.mark.parametrize("name", GATE_FUNCTIONS)
def test_a_gate_moves_within_its_bound_for_small_and_large_errors_of_its_argument(name):
    gate, draw = _gate(name), np.random.default_rng(0)
    x = Tracked(draw.normal(size=4000) * draw.choice([1.0, 10.0, 200.0], 4000), np.exp(draw.uniform(-9, 5, 4000)))
    value = gate_value(WITHOUT_ROUNDING, gate, x)
    slope = gate_slope(WITHOUT_ROUNDING, gate, x, value)
    for share in (-1.0, -0.8, -0.3, 0.01, 0.5, 1.0):
        moved = exactly(x.value + share * x.error)
        there = gate_value(WITHOUT_ROUNDING, gate, moved)
        assert (np.abs(there.value - value.value) <= SLACK * value.error + 1e-12).all()
        steep = gate_slope(WITHOUT_ROUNDING, gate, moved, there)
        assert (np.abs(steep.value - slope.value) <= SLACK * slope.error + 1e-12).all()


def test_products_hold_where_both_errors_are_as_large_as_the_values():
    draw = np.random.default_rng(0)
    a, b = (Tracked(draw.normal(size=(6, 6)), draw.uniform(0, 3, (6, 6))) for _ in range(2))
    each, whole = WITHOUT_ROUNDING.times(a, b), WITHOUT_ROUNDING.product(a, b)
    for signs in np.ndindex(2, 2):
        p, q = (x.value + (2 * s - 1) * x.error for x, s in zip((a, b), signs, strict=True))
        assert (np.abs(p * q - each.value) <= SLACK * each.error).all()
        assert (np.abs(p @ q - whole.value) <= SLACK * whole.error).all()
