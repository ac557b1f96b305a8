"""Views compared between backends: right ones lie within the budget, wrong ones beyond ten of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_network import MODES, viewed

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults import faulty_subject
from cnnbench.views.agreement import view_truth
from cnnbench.views.faults import FAULTS
from cnnbench.views.finding import ViewFinding
from cnnbench.views.network import BackendRunner
from cnnbench.views.shipped import SHIPPED
from cnnbench.views.view import NetworkView, ViewRequest, ViewResult, find_view

KILLED = 10  # budgets
BY_NAME = {item.name: item for item in SHIPPED}


@pytest.fixture(scope="module")
def request_(images):
    other = np.random.default_rng(5).normal(size=(6, *images.shape[1:])).astype(np.float32)
    return ViewRequest(
        images, (3, 1), data=other, labels=np.arange(6), style=other[:1], settings={"steps": 4}, compared_only=True
    )


@pytest.fixture(scope="module")
def truths(model, images, request_):
    """The truth of each view, made when it is first asked for."""
    options = ProgramOptions("fast", precision("float32"))
    case = Case(model.graph, model.arrays, {"image": images}, options)
    made = {}

    def truth(view):
        if view.name not in made:
            made[view.name] = view_truth(view, viewed(model), request_, case)
        return made[view.name]

    return truth


@pytest.mark.parametrize(("backend", "mode"), MODES[1:])
def test_a_view_of_each_sort_lies_within_its_budget_on_every_backend(model, request_, truths, backend, mode):
    """Values, a gradient, one at an inner node, one through pieces, and one of several values; the rest is NumPy's."""
    network = viewed(model, backend, mode, "float32")
    for name in ("feature_maps", "saliency", "grad_cam", "guided_backpropagation", "style_adam"):
        finding = ViewFinding(BY_NAME[name], backend, BY_NAME[name](network, request_), truths(BY_NAME[name]))
        assert finding.status == "agrees", (name, finding.used)


@pytest.mark.parametrize(
    ("backend", "mode"), [MODES[0], *(pytest.param(*m.values, marks=[*m.marks, pytest.mark.slow]) for m in MODES[1:])]
)
def test_every_view_lies_within_its_budget(model, request_, truths, backend, mode):
    network = viewed(model, backend, mode, "float32")
    for view in SHIPPED:
        finding = ViewFinding(view, backend, view(network, request_), truths(view))
        assert finding.status == ("agrees" if finding.result.compared else "not compared"), (view.name, finding.used)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda item: item.name)
def test_every_fault_of_a_view_exceeds_ten_budgets(model, request_, truths, fault):
    view = BY_NAME[fault.view]
    finding = ViewFinding(view, "numpy", fault.injected(view)(viewed(model, policy="float32"), request_), truths(view))
    assert finding.status == "differs"
    assert max(finding.used.values()) > KILLED


def test_a_fault_is_put_into_no_view_but_its_own():
    assert FAULTS[0].injected(BY_NAME["grad_cam"]) is BY_NAME["grad_cam"]


@pytest.mark.parametrize("fault", ["conv.kernel_flip", "relu.missing"])
def test_a_defect_of_a_backend_shows_in_a_view(model, request_, truths, fault):
    """The same defects that checks of layers find."""
    network = viewed(model, policy="float32")
    runner = network.runner
    broken = faulty_subject(runner.backend, fault).backend
    found = BY_NAME["saliency"](replace(network, runner=BackendRunner(broken, runner.options)), request_)
    assert max(truths(BY_NAME["saliency"]).used(found).values()) > KILLED


@pytest.mark.parametrize("wrong", [np.nan, None], ids=["NaN", "another shape"])
def test_what_cannot_be_compared_agrees_with_nothing(model, request_, truths, wrong):
    view = BY_NAME["saliency"]
    right = view(viewed(model, policy="float32"), request_)
    changed = right.arrays["saliency"][:, 1:] if wrong is None else right.arrays["saliency"] * wrong
    finding = ViewFinding(view, "numpy", replace(right, arrays={"saliency": changed}), truths(view))
    assert finding.status == "differs"
    assert finding.to_json()["used"] == {"saliency": None}


def test_a_view_in_which_nothing_is_computed_is_not_compared(truths):
    assert truths(NetworkView("mine", "m", "f", "s", lambda network, request: ViewResult({"x": np.ones(2)}))) is None


def test_an_unknown_view_has_the_nearest_name():
    with pytest.raises(Exception, match="unknown view 'salience'") as wrong:
        find_view("salience")
    assert wrong.value.remedy == "did you mean 'saliency'?"
