"""A verdict follows from where the figures lie; the notes' statements get theirs from computed values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import correlate2d

from cnnbench.claims.claim import ClaimEvidence, ClaimFinding, NetworkClaim, claims
from cnnbench.claims.laboratory import Laboratory
from cnnbench.claims.signals import toeplitz_matrix
from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend

ALL = claims()
COMPUTED = {name: claim for name, claim in ALL.items() if not claim.trains}
WITHOUT_CONDITIONS = {"bottlenecks", "toeplitz"}
INSIDE = ClaimEvidence("inside", (1.0, 1.1, 0.9), least=0, most=2)
OUTSIDE = ClaimEvidence("outside", (3.0, 3.1, 2.9), most=2)
ACROSS = ClaimEvidence("across", (1.0, 3.0, 2.0), most=2)
NAN = ClaimEvidence("no number", (math.nan,), most=2)


def claim(*evidence: ClaimEvidence, conditions: tuple[str, ...] = ()) -> NetworkClaim:
    return NetworkClaim("mine", 99, "It is so.", "a test", lambda laboratory: evidence, conditions)


def laboratory(backend: str = "numpy", mode: str = "fast", seeds: int = 8) -> Laboratory:
    return Laboratory(load_backend(backend), mode, tuple(range(seeds)))


@pytest.mark.parametrize(
    ("evidence", "conditions", "verdict"),
    [
        ((INSIDE,), (), "holds"),
        ((INSIDE, INSIDE), ("it rains",), "holds with conditions"),
        ((INSIDE, OUTSIDE), ("it rains",), "does not hold"),
        ((INSIDE, ACROSS), (), "undecided"),
        ((ACROSS, OUTSIDE), (), "does not hold"),
        ((NAN,), (), "undecided"),
        ((), (), "undecided"),
    ],
)
def test_the_verdict_follows_from_every_figure(evidence, conditions, verdict):
    assert ClaimFinding(claim(*evidence, conditions=conditions), evidence).verdict == verdict


def test_the_interval_is_students_and_of_a_single_value_that_value():
    low, high = ClaimEvidence("x", (1.0, 2.0, 3.0), most=9).interval
    half = 4.302652729696142 / math.sqrt(3)  # t of 2 degrees of freedom at 0.975
    assert (low, high) == pytest.approx((2 - half, 2 + half))
    assert ClaimEvidence("x", (5.0,), most=9).interval == (5.0, 5.0)


@pytest.mark.parametrize("wrong", [{"values": ()}, {"most": None}], ids=["no value", "no bound"])
def test_evidence_without_a_value_or_a_bound_is_refused(wrong):
    with pytest.raises(SpecError, match="evidence needs"):
        replace(OUTSIDE, **wrong)


@pytest.mark.parametrize("name", COMPUTED)
def test_the_notes_statements_hold_on_numpy(name):
    finding = ALL[name].examine(laboratory())
    assert finding.verdict == ("holds" if name in WITHOUT_CONDITIONS else "holds with conditions"), finding.evidence


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "mode"), [("torch", "eager"), ("jax", "jit"), ("tensorflow", "graph")])
def test_they_hold_on_the_other_backends(backend, mode):
    pytest.importorskip(backend)
    there = laboratory(backend, mode)
    assert {name: item.examine(there).verdict for name, item in COMPUTED.items()} == {
        name: "holds" if name in WITHOUT_CONDITIONS else "holds with conditions" for name in COMPUTED
    }


def test_a_backend_that_flips_kernels_is_contradicted(monkeypatch):
    """The experiments compute: a wrong backend changes their figures."""
    there = laboratory()
    right = Laboratory.output

    def flipped(self, graph, arrays, **batch):
        turned = {name: array[..., ::-1].copy() if array.ndim == 4 else array for name, array in arrays.items()}
        return right(self, graph, turned, **batch)

    monkeypatch.setattr(Laboratory, "output", flipped)
    assert ALL["toeplitz"].examine(there).verdict == "does not hold"
    assert ALL["edge_kernel"].examine(there).verdict == "does not hold"


def test_the_toeplitz_matrix_is_a_correlation():
    draw = np.random.default_rng(0)
    image, kernel = draw.normal(size=(6, 9)), draw.normal(size=(3, 2))
    product = toeplitz_matrix(kernel, 6, 9) @ image.ravel()
    np.testing.assert_allclose(product, correlate2d(image, kernel, "valid").ravel(), atol=1e-12)


def test_claims_come_in_the_order_of_their_numbers():
    assert [item.number for item in claims().values()] == list(range(1, 18))
