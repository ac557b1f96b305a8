"""The gradient check: each layer's gradients alone, the loss alone, and every parameter's gradient end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.budgets.loss import loss_budget, loss_gradient_budget
from cnnbench.numerics.calibration import LOSS
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.gradient_end_to_end import check_gradient_end_to_end
from cnnbench.numerics.checks.local_gradient import check_local_gradients
from cnnbench.numerics.checks.verdict import describe, doubted, failing, joined, of_images
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.cut_choices import cut_at_choices
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.hard_case import hard_oracle
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import stored_loss, to_storage
from cnnbench.numerics.second_opinions import wrong_gradient
from cnnbench.numerics.sized_case import sized_oracles
from cnnbench.numerics.subject import Subject, Updates
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Flatten
from cnnbench.spec.layers.arithmetic import Affine

NAME = "gradient"


def check_gradient(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Local gradients with seeded cotangents, on other batch sizes too, the loss, then the whole network's gradients.

    A large network is checked on smaller images; ``details`` says which.
    Discrete choices are given to the whole network, so that none flips.
    """
    small = Oracle(oracle.case.reduced.with_objective, oracle.cache)
    case = small.case
    if (doubt := wrong_gradient(small)) is not None:
        return doubted(NAME, doubt)
    local, hard = (
        check_local_gradients(NAME, subject, small),
        hard_oracle(Oracle(oracle.case.with_objective, oracle.cache)),
    )
    if hard is not None and local.status == "passed":
        with np.errstate(all="ignore"):
            local = joined(local, check_local_gradients(NAME, subject, hard, once=True))
    for images, sized in sized_oracles(small):
        if local.status == "passed":
            found = check_local_gradients(NAME, subject, sized, once=True)
            local = joined(local, found, *of_images(images))
    if local.status == "failed" or not case.has_loss:
        return local
    terms = loss_terms(subject, case)
    if (term := failing(terms)) is not None:
        known = {**local.details, **({"problem": term.problem} if term.problem else {})}
        return CheckOutcome(
            name=NAME,
            status="failed",
            budget_used=term.use.sharp_used,
            worst_case_used=term.use.worst_case_used,
            node=LOSS,
            message=describe(term),
            details=known,
            nodes=(*local.nodes, *(term.use for term in terms)),
        )
    return check_gradient_end_to_end(subject, cut_at_choices(small), local, tuple(term.use for term in terms))


def prefetch_gradient(oracle: Oracle) -> None:
    """Has the oracle compute each layer's gradients, and the network's with their envelope."""
    small = Oracle(oracle.case.reduced.with_objective, oracle.cache)
    for ordinary in (small, *(sized for _, sized in sized_oracles(small))):
        for name in ordinary.differentiated()[:1]:
            ordinary.gradients(name)  # all are made together
    hard = hard_oracle(Oracle(oracle.case.with_objective, oracle.cache))
    if hard is not None:
        with np.errstate(all="ignore"):
            for name in hard.differentiated()[:1]:
                hard.gradients(name)
    if small.case.has_loss:
        gradient_envelope(cut_at_choices(small))


def loss_terms(subject: Subject, case: Case, *, in_step: bool = False) -> list[Comparison]:
    """The loss alone, on seeded normal values around the right size: its value, and its gradient.

    Args:
        subject: What is examined.
        case: Whose loss it is, and the shape of its main output.
        in_step: Whether its value in an optimiser step is compared too, and not only that in a gradient pass.
    """
    value = case.graph.outputs[0][1]
    shape = case.graph.shapes(case.size)[value]
    graph = _identity(shape)
    x = to_storage(np.random.Generator(np.random.Philox(case.seed)).normal(size=shape) * 2, case.policy)
    batch = {"value": x, "targets": case.labels}
    exact = reference().subject.gradient(graph, {}, batch, reference_options(training=True), case.loss)
    options = replace(case.options, training=True, fold_batch_norm=False)
    result = subject.gradient(graph, {}, batch, options, case.loss)
    losses = [result.loss]
    if in_step:
        updates = Updates(case.loss, case.training.optimizer, (0.0,))
        losses += [step.loss for step in subject.steps(graph, {}, [batch], options, updates)]
    gradient = exact.inputs["value"]
    budget = loss_gradient_budget(case.loss, np.asarray(x), case.labels, gradient, case.policy)
    place = Place(LOSS, case.loss.kind, Quantity.loss_gradient())
    of_value = loss_budget(case.loss, np.asarray(x), case.labels, case.policy)
    values = [_compared_loss(found, exact.loss, of_value, case) for found in losses]
    return [*values, compare(place, result.inputs.get("value"), gradient, budget, case.policy)]


def _compared_loss(found: float, exact: float, budget: Budget, case: Case) -> Comparison:
    place = Place(LOSS, case.loss.kind, Quantity.loss_value())
    got = stored_loss(found, case.policy)
    return compare(place, got, np.asarray(exact, np.float64), budget, case.policy)


def _identity(shape: tuple[int, ...]) -> Graph:
    """A graph that only hands its input on, in the whole shape of a network's main output."""
    builder = Builder("loss")
    x = builder.input("value", shape, batched=False)
    return builder.build(builder.add("same", Flatten(start_axis=len(shape) - 1) if shape else Affine(), x))
