"""What a program rounds only where it is fused is left out of the exact check; the rest is held bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend
from wrong_programs import FOLDED, Plain, WrongElement, case_of, wrong_weight

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add, BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, ReLU


def normed() -> Graph:
    """Two convolutions with batch norm, residual."""
    build = Builder("normed")
    x = build.input("image", (3, 8, 8))
    x = build.add("conv1", Conv(out_channels=16, kernel_size=3, padding=1, bias=False), x)
    skip = x = build.add("relu1", ReLU(), build.add("bn1", BatchNorm(), x))
    x = build.add("conv2", Conv(out_channels=16, kernel_size=3, padding=1, bias=False), x)
    x = build.add("relu2", ReLU(), build.add("sum", Add(), build.add("bn2", BatchNorm(), x), skip))
    x = build.add("flat", Flatten(), build.add("pool", GlobalAvgPool(), x))
    return build.build(build.add("fc", Linear(out_features=10), x))


@pytest.mark.parametrize("factor", [2.0**-23, 2.0**-22, 2.0**-18])
def test_a_norm_that_rounds_only_where_it_is_fused_is_left_out_and_the_rest_is_held(factor):
    """TensorFlow's fused convolution and batch norm takes an approximate reciprocal root; alone its norm is exact."""

    def change(value):
        value *= np.float32(1 - factor)

    unfolded = replace(FOLDED, fold_batch_norm=False)
    case = case_of(normed(), unfolded)
    (outcome,) = run_checks(["exact"], Plain(WrongElement("bn1", change, least=2)), case)
    if factor == 2.0**-18:
        assert outcome.status == "failed"
        assert outcome.node == "bn1"
        return
    assert outcome.status == "passed", outcome.message
    assert "batch_norm rounds where others are exact" in outcome.message
    assert not outcome.compares_program
    assert set(outcome.details["cut"]) >= {"bn1", "bn2"}

    class AlsoWrong(WrongElement):
        def forward(self, graph, arrays, batch, options):
            if len(graph.nodes) >= 2 and "conv2.weight" in arrays:
                arrays = wrong_weight("conv2.weight")(graph, {n: np.array(a) for n, a in arrays.items()})
            return super().forward(graph, arrays, batch, options)

    (outcome,) = run_checks(["exact"], Plain(AlsoWrong("bn1", change, least=2)), case)
    assert outcome.status == "failed", outcome.message
    assert outcome.node == "conv2"


def test_tensorflow_is_exact_with_either_set_of_kernels():
    pytest.importorskip("tensorflow")
    options = ProgramOptions("graph", precision("float32"))
    subject = InProcessSubject(loaded_backend("tensorflow"))
    (outcome,) = run_checks(["exact"], subject, case_of(normed(), options))
    assert outcome.status == "passed", outcome.message
