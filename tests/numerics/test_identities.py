"""Weights that change no value: which arrays they are is said, and the checks see behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.checks.identities import REPEATED
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, GlobalAvgPool, Linear, ReLU
from cnnbench.spec.weights import general_position, initialize


def case(arrays=initialize):
    b = Builder("fresh")
    x = b.add("conv", Conv(out_channels=4, kernel_size=3), b.input("image", (2, 6, 6)))
    x = b.add("relu", ReLU(), b.add("norm", BatchNorm(), x))
    graph = b.build({"logits": b.add("fc", Linear(out_features=3), b.add("pool", GlobalAvgPool(), x))})
    images = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    return Case(graph, arrays(graph, 0), {"image": images}, ProgramOptions("fast", precision("float32")))


class Without:
    """A backend that does as if some arrays were as they start."""

    def __init__(self, *names: str) -> None:
        self.inner = InProcessSubject(loaded_backend("numpy"))
        self.ignored = {name: initialize(case().graph, 0)[name] for name in names}
        self.steps = self.inner.steps

    def arrays(self, given):
        return {name: self.ignored.get(name, array) for name, array in given.items()}

    def forward(self, graph, arrays, batch, options):
        return self.inner.forward(graph, self.arrays(arrays), batch, options)

    def gradient(self, graph, arrays, batch, options, loss=None):
        return self.inner.gradient(graph, self.arrays(arrays), batch, options, loss)


FRESH = ["conv.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]


def test_a_fresh_checkpoint_is_checked_behind_its_identities():
    outcomes = run_checks(["local", "end_to_end", "gradient"], Without("norm.running_mean"), case())
    local, end_to_end, gradient = outcomes
    assert (local.status, local.node) == ("failed", "norm")
    assert end_to_end.status == "failed"
    assert gradient.status == "passed"  # in training a batch norm does not read its statistics
    assert "in general position, which are 0, 1 or all equal in these weights" in end_to_end.message
    assert "on hard operands" in local.message  # whose statistics are no identities: it need not look further
    assert all(outcome.details["at_identity"] == FRESH for outcome in (end_to_end, gradient))


def test_a_right_backend_passes_and_the_outcome_names_the_arrays():
    for outcome in run_checks(REPEATED, InProcessSubject(loaded_backend("numpy")), case()):
        assert outcome.status == "passed", outcome.message
        assert outcome.message.endswith(
            "passed with conv.bias, norm.weight, norm.bias and 2 more in general position too"
        )
        assert outcome.details["at_identity"] == FRESH


def test_weights_in_general_position_are_checked_once():
    subject = InProcessSubject(loaded_backend("numpy"))
    outcomes = run_checks(REPEATED, subject, replace(case(general_position), seed=5))
    assert all(outcome.status == "passed" and "at_identity" not in outcome.details for outcome in outcomes)
