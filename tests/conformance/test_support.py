"""No silent gap: each backend has an op for every kind, or lowers it to kinds that it has, or says why not."""

from __future__ import annotations

import pytest

from cnnbench.conformance.support import layer_support
from cnnbench.execution.backends import load_backend
from cnnbench.execution.operations import Operations
from cnnbench.spec.composites import Composite
from cnnbench.spec.kinds import layer_kinds

CORE = {kind: cls for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}
FRAMEWORKS = ("torch", "jax", "tensorflow", "onnxruntime")
BACKENDS = ["numpy", *(pytest.param(name, marks=getattr(pytest.mark, name)) for name in FRAMEWORKS)]


@pytest.mark.parametrize("name", BACKENDS)
def test_no_kind_is_missing_in_silence(load, name):
    support = layer_support(CORE, load(name).operations)
    assert [kind for kind, found in support.items() if found.how == "none" and not found.reason] == []
    for kind, found in support.items():
        assert (found.how == "lowered") <= issubclass(CORE[kind], Composite)
        assert all(gap.reason for gap in found.gaps), kind


@pytest.mark.parametrize("name", BACKENDS)
def test_a_gap_in_part_of_a_kind_says_in_which(load, name):
    """A precision, a mode, a condition in words, the gradient or special values: unless the whole kind is missing."""
    operations = load(name).operations
    for gap in operations.gaps:
        somewhere = gap.precisions or gap.modes or gap.gradient_only or gap.condition or gap.special_values
        assert somewhere or gap.kind not in operations, gap
        assert bool(gap.condition) == (gap.when is not None), gap


def test_gaps_of_parts_are_gaps_of_what_is_made_of_them():
    operations = Operations("example", load_backend("numpy").operations)
    operations.lacks("channel_affine", "no gradient yet", gradient_only=True)
    found = layer_support(CORE, operations)
    assert found["channel_affine"].gradient == "with gaps"
    assert found["trainable_subsample"].how == "lowered"
    assert found["trainable_subsample"].parts == ("avg_pool", "channel_affine")
    assert [gap.reason for gap in found["trainable_subsample"].gaps] == ["no gradient yet"]
    assert found["relu"].gradient == "yes"


def test_what_is_missing_has_the_declared_reason_or_none():
    empty = Operations("example")
    empty.lacks("avg_pool", "the framework has no pooling")
    found = layer_support(CORE, empty)
    assert (found["avg_pool"].how, found["avg_pool"].reason) == ("none", "the framework has no pooling")
    assert (found["trainable_subsample"].how, found["relu"].reason) == ("none", None)
