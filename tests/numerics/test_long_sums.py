"""Long sums: integers of 12 bits against few ones are exact in float32, and a product of fewer bits is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance import layer_cases
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults import fault, faulty_subject
from cnnbench.numerics.integers import LONG_PRODUCTS, long_call
from cnnbench.numerics.reference import LayerCall, reference

FLOAT32 = ProgramOptions("reference", precision("float32"))
PRODUCTS = [name for name, case in layer_cases().items() if case.layer.kind in LONG_PRODUCTS and case.batch]


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_sum_of_long_integers_is_exact_in_float32(name):
    """The sum of magnitudes bounds every partial sum, in whatever order."""
    case = layer_cases()[name].case(FLOAT32)
    found = long_call(case, case.lowered.node("layer"))
    (x,), (g,) = found.call.inputs, found.cotangents
    for operand in (x, g, *found.call.weights):
        assert np.array_equal(operand, np.rint(operand))
        assert np.abs(operand).max() < 2**12
    wide = [np.abs(operand) > 1 for operand in (x, found.call.weights[0], g)]
    assert all((np.abs(o[w]) % 2 == 1).all() for o, w in zip((x, found.call.weights[0], g), wide, strict=True))
    assert sum(w.any() for w in wide) >= 1
    size = LayerCall(found.call.layer, (np.abs(x),), tuple(map(np.abs, found.call.weights)))
    sums = reference().gradient(size, (np.abs(g),))
    for total in (*reference().forward(size).outputs, *sums.inputs, *sums.weights):
        assert total is None or np.abs(total).max() < 2**24


@pytest.mark.parametrize("name", ["linear.tf32_of_long_sums", "linear.sums_of_sixteen_bits"])
def test_a_product_of_fewer_bits_is_found_in_25088_terms(name):
    case = fault(name).case(FLOAT32, 0)
    backend = loaded_backend("numpy")
    (outcome,) = run_checks(["exact"], faulty_subject(backend, name), case)
    assert (outcome.status, outcome.node) == ("failed", "suspect")


def test_where_storage_is_narrower_than_sums_there_are_none():
    case = replace(layer_cases()[PRODUCTS[0]].case(FLOAT32), options=ProgramOptions("reference", precision("bfloat16")))
    assert long_call(case, case.lowered.node("layer")) is None
