"""Values next to a kink may lie on either side of it: what that moves is admitted, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.calibration import LOSS, with_loss
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.gradient_end_to_end import _judged
from cnnbench.numerics.checks.training_steps import compare_steps
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.subject import InProcessSubject, TrainedStep
from cnnbench.numerics.training_course import course
from cnnbench.numerics.training_crossings import course_crossings, gradient_crossings
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import LeakyReLU, Linear, MaxPool, ReLU
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.losses import MeanSquaredError
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import general_position
from cnnbench.training.steps import TrainingSteps

FLOAT32 = ProgramOptions("reference", precision("float32"))
STEPS = TrainingSteps(SGD(momentum=0.9), MeanSquaredError(), (0.1, 0.1), later=())


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path / "cache"))


def network(act: ReLU | LeakyReLU | None = None) -> Graph:
    builder = Builder("kinks")
    x = builder.input("x", (6,))
    x = builder.add("first", Linear(out_features=8), x)
    if act is None:
        x = builder.add("rows", Reshape(shape=(1, 2, 4)), x)
        x = builder.add("act", MaxPool(kernel_size=2), x)
        x = builder.add("flat", Reshape(shape=(2,)), x)
    else:
        x = builder.add("act", act, x)
    return builder.build(builder.add("last", Linear(out_features=3), x))


def case_of(graph: Graph, distance: float, apart: bool = False) -> Case:
    """One value of the first image lies ``distance`` above 0, or above another one of its window."""
    arrays = {name: np.array(a, np.float64) for name, a in general_position(graph, 0).items()}
    x = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    for _ in range(3):  # the bias is stored in float32, which the next turn mends
        values = x[0].astype(np.float64) @ arrays["first.weight"].astype(np.float32).astype(np.float64).T
        values += arrays["first.bias"].astype(np.float32)
        arrays["first.bias"][0] += (distance + (values[[1, 4, 5]].max() if apart else 0.0)) - values[0]
    case = Case(graph, {n: a.astype(np.float32) for n, a in arrays.items()}, {"x": x}, FLOAT32, training=STEPS)
    return replace(case, targets=np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32))


def flipped(case: Case) -> Case:
    """The same weights, but the first bias so much lower that the value lies on the other side of its kink."""
    arrays = dict(case.arrays)
    arrays["first.bias"] = arrays["first.bias"] - np.float32(4e-7) * (np.arange(8) == 0).astype(np.float32)
    return replace(case, arrays=arrays)


def gradients(case: Case):
    batch, options = case.training_batch(), reference_options(training=True)
    return with_loss(reference().subject.gradient(case.lowered, case.stored, batch, options, case.loss))


@pytest.mark.parametrize("act", [ReLU(), LeakyReLU(negative_slope=0.1), None], ids=["relu", "leaky_relu", "max_pool"])
def test_what_one_crossing_moves_is_what_the_other_side_gives(act):
    case = case_of(network(act), 1e-7, apart=act is None)
    right, other = gradients(case), gradients(flipped(case))
    (moved,) = gradient_crossings(Oracle.of(case), right)
    for name in ("first.weight", "first.bias", "last.weight"):
        off = float(np.abs(right[name] - other[name]).max())
        assert moved[name] == pytest.approx(off, rel=1e-4, abs=1e-5)
    assert moved["first.weight"] > 1e-3
    assert moved[LOSS] < 1e-5


@pytest.mark.parametrize("act", [ReLU(), None], ids=["relu", "max_pool"])
def test_values_far_from_a_kink_cross_nothing(act):
    case = case_of(network(act), 1e-3, apart=act is None)
    assert gradient_crossings(Oracle.of(case), gradients(case)) == []
    oracle = Oracle.of(case)
    assert course_crossings(oracle, course(oracle)) == []


def test_a_gradient_on_the_other_side_of_a_kink_is_right_and_a_little_more_is_wrong():
    case = case_of(network(ReLU()), 2.2e-7)
    oracle = Oracle.of(case)
    exact, wide = gradient_envelope(oracle)
    _, narrow = gradient_envelope(Oracle.of(case_of(network(ReLU()), 1e-3)))  # as if no perturbed run had crossed
    assert narrow.size["first.weight"] < 1e-3 * wide.size["first.weight"]
    local = CheckOutcome(name="gradient", status="passed", budget_used=0.0)
    other = InProcessSubject(load_backend("numpy")).gradient(
        case.graph, flipped(case).stored, case.training_batch(), replace(FLOAT32, training=True), case.loss
    )
    assert _judged(oracle, exact, narrow, other, local).status == "passed"
    weights = {**other.weights, "first.weight": exact["first.weight"] * 1.3}
    assert _judged(oracle, exact, narrow, other._replace(weights=weights), local).status == "failed"


class Crossing(InProcessSubject):
    """Trains with one value on the other side of its kink at the first step, and a factor on the gradient's way."""

    def __init__(self, case: Case, factor: float = 1.0) -> None:
        super().__init__(load_backend("numpy"))
        object.__setattr__(self, "case", case)
        object.__setattr__(self, "factor", factor)

    def steps(self, graph, arrays, batches, options, updates):
        moved = flipped(self.case).stored if "first.weight" in arrays else arrays
        for step in super().steps(graph, moved, batches, options, updates):
            if "first.weight" not in arrays or step.training is None:
                yield step
                continue
            weights = dict(step.training.weights)
            start = arrays["last.weight"]
            weights["last.weight"] = start + np.float32(self.factor) * (weights["last.weight"] - start)
            yield TrainedStep(step.loss, step.training._replace(weights=weights))


def test_a_training_on_the_other_side_of_a_kink_is_right_and_a_wrong_one_is_not(monkeypatch):
    case = case_of(network(ReLU()), 2.2e-7)
    oracle = Oracle.of(case)
    narrow = course(Oracle.of(case_of(network(ReLU()), 1e-3))).envelopes  # as if no perturbed run had crossed
    found = replace(course(oracle), envelopes=narrow)
    monkeypatch.setattr("cnnbench.numerics.checks.training_steps.course", lambda oracle: found)
    moves = course_crossings(oracle, found)
    assert len(moves) == len(found.exact)
    assert moves[0]["first.weight"] > 1e-3
    assert moves[1]["first.weight"] > moves[0]["first.weight"]  # momentum carries it on
    assert compare_steps(Crossing(case), oracle).used <= 1
    assert compare_steps(Crossing(case, factor=1.01), oracle).used > 2
