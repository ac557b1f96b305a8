"""What checks hold at once is bounded by the network's weights: no more than a few times these in float64."""

from __future__ import annotations

import gc
import math
import tracemalloc

import pytest
from cnnbench_numpy import optimizers
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics import blocks, calibration
from cnnbench.numerics import case as cases
from cnnbench.numerics.cache import Cache
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Linear, ReLU
from cnnbench.spec.weights import general_position

# Times the weights in float64, beside the weights that the caller has: docs/numerics.md.
MOST = 5.5


def heavy_case():
    """Two layers, one with three quarters of the weights as in VGG, and operands that are nothing beside them."""
    b = Builder("heavy")
    x = b.stack("part", [Linear(out_features=768), ReLU(), Linear(out_features=340), ReLU()], b.input("x", (1024,)))
    graph = b.build({"logits": b.add("head", Linear(out_features=10), x)})
    arrays = general_position(graph, 0)
    return Case(graph, arrays, draw_inputs(graph, 0, 2), ProgramOptions("reference", precision("float32")))


@pytest.mark.parametrize("check", [name for name in CHECKS if name not in ("classes", "special")])
def test_a_check_holds_a_few_times_the_weights(check, monkeypatch, tmp_path):
    for module in (blocks, optimizers):
        monkeypatch.setattr(module, "BLOCK", 2**14)  # of this network as a million of VGG
    for module in (cases, calibration):
        monkeypatch.setattr(module, "LARGE_PARAMETERS", 1000)  # few runs and steps, as of a large network
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path))
    assert Cache.of_user().folder.parent == tmp_path
    subject, case = InProcessSubject(loaded_backend("numpy")), heavy_case()
    weights = 8 * sum(math.prod(spec.shape) for spec in case.graph.named_weights())
    gc.collect()
    tracemalloc.start()
    try:
        (outcome,) = run_checks([check], subject, case)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.status == "passed", outcome.message
    assert peak <= MOST * weights, f"{peak / weights:.2f} times the weights in float64"
