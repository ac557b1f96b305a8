"""Checks of networks whose nodes share weights: right backends pass, and a defect is found at the node that has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend
from shared_networks import NETWORKS, copied, general_arrays, general_batch, pyramid_head, siamese, summed, unshared

from cnnbench.errors import SuiteError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import Operation
from cnnbench.execution.precision import precision
from cnnbench.numerics.calibration import LOSS
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.faults import fault, inject, require_reach
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject

CHECKS = ("local", "exact", "end_to_end", "gradient", "training", "determinism", "gradient_determinism")


def case_of(graph, mode="reference", **fields) -> Case:
    batch = general_batch(graph)
    targets = batch.pop("targets")
    return Case(graph, general_arrays(graph), batch, ProgramOptions(mode, precision("float32")), targets, **fields)


@pytest.mark.parametrize(
    ("backend", "mode", "network"),
    [
        pytest.param(name, mode, network, marks=[*marks, *([pytest.mark.slow] if costly and place else [])])
        for name, mode, marks, costly in (
            ("numpy", "fast", [], False),
            ("torch", "eager", [pytest.mark.torch], False),
            ("jax", "jit", [pytest.mark.jax], True),
            ("tensorflow", "graph", [pytest.mark.tensorflow], True),
        )
        for place, network in enumerate(NETWORKS)
    ],
)
def test_right_backends_pass_every_check(backend, mode, network):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    outcomes = run_checks(CHECKS, InProcessSubject(loaded_backend(backend)), case_of(NETWORKS[network](), mode))
    assert [(outcome.name, outcome.status, outcome.message) for outcome in outcomes if outcome.status != "passed"] == []


def test_the_exact_gradient_of_a_shared_weight_is_the_sum_over_its_uses():
    graph = siamese()
    case = case_of(graph)
    copies = replace(case, graph=unshared(graph), arrays=copied(graph, case.arrays))
    exact, _ = gradient_envelope(Oracle.of(case))
    of_copies = gradient_envelope(Oracle.of(copies))[0]
    expected = summed(graph, of_copies) | {LOSS: of_copies[LOSS]}
    assert set(exact) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(exact[name], gradient, rtol=1e-10, atol=1e-13)


def wrong_on_the_smaller_level(backend):
    """The backend with a convolution that is a thousandth off where the image has 6 rows."""
    right = backend.operations["conv"]

    def forward(layer, inputs, weights, state, call):
        result = right.forward(layer, inputs, weights, state, call)
        rows = inputs[0].shape[1 if call.channels_last else 2]
        return result._replace(outputs=(result.outputs[0] * (1.001 if rows == 6 else 1.0),))

    backend.operations = backend.operations.replace("conv", Operation(forward, right.backward, right.weight_layout))
    return InProcessSubject(backend)


def test_a_use_that_is_wrong_is_located_and_reproduced_with_a_copy_of_the_weights(tmp_path):
    subject = wrong_on_the_smaller_level(load_backend("numpy"))
    (outcome,) = run_checks(["local"], subject, case_of(pyramid_head(), folder=tmp_path))
    assert outcome.status == "failed"
    assert outcome.node == "p4.conv"
    (path,) = tmp_path.glob("*.safetensors")
    assert replay(path, subject).status == "failed"
    assert replay(path, InProcessSubject(load_backend("numpy"))).status == "passed"


def test_a_fault_of_sharing_asks_for_a_network_that_shares():
    case = case_of(unshared(siamese()))
    with pytest.raises(SuiteError, match="no nodes share weights"):
        require_reach(case, fault("sharing.gradient_of_one_use"))
    require_reach(case_of(siamese()), fault("sharing.gradient_of_one_use"))


def test_a_wrong_sum_over_uses_is_said_with_the_uses():
    backend = load_backend("numpy")
    with inject(backend, "sharing.gradient_of_one_use"):
        (outcome,) = run_checks(["gradient"], InProcessSubject(backend), case_of(siamese()))
    assert outcome.status == "failed"
    assert outcome.node is not None
    assert outcome.node.startswith("left_branch.")
    assert f"a sum over 2 nodes: {outcome.node}, right_branch." in outcome.message
