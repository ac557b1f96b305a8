"""The classes check on a small classifier: what agrees, what is misplaced, what may change places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.checks.classes import best, probabilities
from cnnbench.numerics.faults import Fault, faulty_subject
from cnnbench.numerics.faults.engine.base import other_outputs
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Linear, ReLU
from cnnbench.spec.weights import general_position

OPTIONS = ProgramOptions("reference", precision("float32"))


def classifier(classes: int = 7) -> Case:
    b = Builder("classifier")
    graph = b.build({"logits": b.add("fc", Linear(out_features=classes), b.input("x", (5,)))})
    rng = np.random.default_rng(0)
    arrays = {
        "fc.weight": rng.normal(size=(classes, 5)).astype(np.float32),
        "fc.bias": rng.normal(size=classes).astype(np.float32),
    }
    return Case(graph, arrays, {"x": rng.normal(size=(3, 5)).astype(np.float32)}, OPTIONS)


class Changed:
    """The NumPy backend with its logits changed afterwards."""

    def __init__(self, change) -> None:
        self.right = InProcessSubject(load_backend("numpy"))
        self.change = change

    def forward(self, graph, arrays, batch, options):
        result = self.right.forward(graph, arrays, batch, options)
        return result._replace(outputs={name: self.change(y).astype(y.dtype) for name, y in result.outputs.items()})

    def gradient(self, *args):
        raise NotImplementedError

    steps = gradient


def outcome(change, case: Case | None = None):
    return run_checks(["classes"], Changed(change), case or classifier())[0]


def test_a_right_backend_names_the_same_five_classes():
    found = outcome(lambda y: y)
    assert found.status == "passed"
    assert found.details["classes"] == found.details["expected_classes"]
    assert np.shape(found.details["classes"]) == (3, 5)
    assert "5 best classes of 3 images agree" in found.message


def test_two_classes_in_each_other_s_place_fail():
    found = outcome(lambda y: y[:, [1, 0, 2, 3, 4, 5, 6]])
    assert found.status == "failed"
    assert "best classes" in found.message
    assert found.node == "fc"


def test_logits_that_are_scaled_keep_their_order_but_not_their_probabilities():
    found = outcome(lambda y: y * 1.01)
    assert found.status == "failed"
    assert "probability" in found.message


def test_wrong_classes_are_located_at_the_node_that_moves_them():
    b = Builder("two layers")
    x = b.add("hidden", Linear(out_features=6), b.input("x", (5,)))
    graph = b.build({"logits": b.add("fc", Linear(out_features=7), b.add("relu", ReLU(), x))})
    case = Case(graph, general_position(graph, 0), classifier().inputs, OPTIONS)
    doubled = other_outputs(lambda layer, inputs, outputs, call: (outputs[0] * 2,))
    fault = Fault("relu.doubled", "relu", "twice", lambda options, seed: case, operation=doubled)
    (found,) = run_checks(["classes"], faulty_subject(load_backend("numpy"), fault), case)
    assert found.status == "failed"
    assert found.node == "relu"
    assert outcome(lambda y: y * 2, case).node == "x"  # of any program, also of one that copies


def test_equal_logits_may_change_places():
    case = classifier()
    arrays = dict(case.arrays)
    arrays["fc.weight"] = arrays["fc.weight"].copy()
    arrays["fc.bias"] = arrays["fc.bias"].copy()
    arrays["fc.weight"][1], arrays["fc.bias"][1] = arrays["fc.weight"][0], arrays["fc.bias"][0]
    swapped = outcome(lambda y: y[:, [1, 0, 2, 3, 4, 5, 6]], replace(case, arrays=arrays))
    assert swapped.status == "passed"


def test_what_is_no_classifier_is_skipped():
    b = Builder("relu")
    graph = b.build(b.add("relu", ReLU(), b.input("x", (3, 4, 4))))
    case = Case(graph, {}, {"x": np.ones((2, 3, 4, 4), np.float32)}, OPTIONS)
    assert run_checks(["classes"], InProcessSubject(load_backend("numpy")), case)[0].status == "skipped"


def test_best_classes_and_probabilities_by_hand():
    logits = np.array([[0.0, 3.0, 3.0, -1.0, 5.0, 2.0]])
    assert best(logits).tolist() == [[4, 1, 2, 5, 0]]
    assert probabilities(np.log([[1.0, 3.0]]))[0] == pytest.approx([0.25, 0.75])
