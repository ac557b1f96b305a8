"""The programs of the kit that hold shared weights: right backends pass, and each injected fault fails one."""

from __future__ import annotations

import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance.sharing import SHARING
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.faults import faults, inject

BROKEN_BY = {
    "sharing.gradient_of_one_use": "shared_weights_sum_their_gradients",
    "sharing.gradient_counted_twice": "shared_weights_sum_their_gradients",
    "sharing.updated_once_per_use": "a_shared_weight_takes_one_step",
    "sharing.statistics_of_last_use": "shared_statistics_are_updated_in_turn",
}
WAYS = [
    ("numpy", "reference"),
    ("numpy", "fast"),
    pytest.param("torch", "eager", marks=pytest.mark.torch),
    pytest.param("jax", "jit", marks=pytest.mark.jax),
    pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
]


@pytest.mark.parametrize(("backend", "mode"), WAYS)
@pytest.mark.parametrize("program", SHARING)
def test_the_shipped_backends_share_weights(backend, mode, program):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    SHARING[program](loaded_backend(backend), ProgramOptions(mode, precision("float32")))


@pytest.mark.parametrize("fault", BROKEN_BY)
def test_an_injected_fault_fails_the_program_that_is_about_it(fault):
    backend = load_backend("numpy")
    options = ProgramOptions("reference", precision("float32"))
    with inject(backend, fault), pytest.raises(AssertionError, match="off, at most"):
        SHARING[BROKEN_BY[fault]](backend, options)


def test_every_fault_of_sharing_is_named_here():
    assert {name for name in faults() if name.startswith("sharing.")} == set(BROKEN_BY)
