"""What a first call gives: each output of its shape and its kind of numbers, all of them finite."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnbench.harness.passes.outputs import judge_outputs
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers.reduction import TopK

CELL: Any = SimpleNamespace(batch=2, precision="float32")


def best() -> Graph:
    builder = Builder("best")
    values, places = builder.add_all("best", TopK(k=2, axis=1), builder.input("x", (5,)))
    return builder.build({"values": values, "places": places})


@pytest.mark.parametrize(
    ("values", "places", "status"),
    [
        ("float32", "int64", None),
        ("float32", "int32", None),
        ("float32", "float32", "wrong_dtype"),
        ("float64", "int64", "wrong_dtype"),
        ("int64", "int64", "wrong_dtype"),
    ],
)
def test_floats_have_the_precision_and_indices_are_integers(values, places, status):
    outputs = {"values": np.zeros((2, 2), values), "places": np.zeros((2, 2), places)}
    failure = judge_outputs(best(), CELL, outputs)
    assert (failure and failure.status) == status


def test_a_value_that_is_no_number_and_another_shape_are_failures():
    good = {"values": np.zeros((2, 2), np.float32), "places": np.zeros((2, 2), np.int64)}
    bad = good | {"values": np.full((2, 2), np.nan, np.float32)}
    assert judge_outputs(best(), CELL, bad).status == "nan"
    assert judge_outputs(best(), CELL, good | {"places": np.zeros((2, 3), np.int64)}).status == "wrong_shape"
