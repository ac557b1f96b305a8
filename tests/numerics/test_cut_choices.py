"""Gradients and trainings are compared under given choices: envelopes stay narrow, and no flip is an alarm."""

from __future__ import annotations

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.cut_choices import cut_at_choices
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, Conv, Flatten, Linear
from cnnbench.spec.layers.detection import NonMaxSuppression, TakeRows
from cnnbench.spec.layers.merge import Concat
from cnnbench.spec.layers.pooling import GlobalAvgPool
from cnnbench.spec.weights import general_position


def trained_on_ties():
    """A linear layer on the boxes in the order of their scores, two of which are one sum in two orders."""
    b = Builder("trained_on_ties")
    image, boxes = b.input("image", (1, 5, 5)), b.input("boxes", (3, 4))
    p, q, r = (
        b.add(f"part{i}", GlobalAvgPool(), b.add(f"conv{i}", Conv(out_channels=1, kernel_size=3), image))
        for i in range(3)
    )
    left = b.add("left", Add(), b.add("left_pair", Add(), p, q), r)
    right = b.add("right", Add(), p, b.add("right_pair", Add(), q, r))
    rows = b.add("rows", Flatten(), b.add("scores", Concat(axis=1), left, right, r))
    indices, _ = b.add_all("suppression", NonMaxSuppression(iou_threshold=0.0, max_outputs=3), boxes, rows)
    kept = b.add("flat", Flatten(), b.add("kept", TakeRows(), boxes, indices))
    return b.build(b.add("logits", Linear(out_features=4), kept))


def case_of(seed, mode="fast"):
    graph = trained_on_ties()
    options = ProgramOptions(mode, precision("float32"))
    return Case(graph, general_position(graph, seed), draw_inputs(graph, seed, 4), options, seed=seed)


def test_choices_that_flip_do_not_widen_the_envelope_of_gradients():
    oracle = Oracle.of(case_of(0))
    cut = cut_at_choices(oracle)
    shares = []
    for asked in (oracle, cut):
        exact, envelope = gradient_envelope(asked)
        largest = np.abs(exact["logits.weight"]).max()
        shares.append(envelope.factor * envelope.size["logits.weight"] / largest)
    assert shares[0] > 0.1, "no choice flips, and nothing is tested"
    assert shares[1] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "mode"), [("numpy", "fast"), pytest.param("torch", "eager", marks=pytest.mark.torch)]
)
def test_detectors_with_ties_raise_no_alarm(backend, mode):
    subject = InProcessSubject(loaded_backend(backend))
    for seed in range(20):
        found = run_checks(["gradient", "training"], subject, case_of(seed, mode))
        assert [outcome.status for outcome in found] == ["passed"] * 2, (seed, [outcome.message for outcome in found])
