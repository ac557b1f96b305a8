"""The gradient check: each layer's gradients alone, the loss alone, and every parameter's gradient end to end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.budgets.loss import loss_budget, loss_gradient_budget
from cnnbench.numerics.calibration import LOSS, leaves_range
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.local_gradient import check_local_gradients
from cnnbench.numerics.checks.located import training_program, with_node
from cnnbench.numerics.checks.verdict import describe, doubted, failing, joined
from cnnbench.numerics.comparison import Comparison, Place, compare, first_problem, largest_differences
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.hard_case import hard_oracle
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome, NodeUse
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import host_dtype, to_storage
from cnnbench.numerics.second_opinions import wrong_gradient
from cnnbench.numerics.subject import Subject, Updates
from cnnbench.numerics.teacher_forcing import owners
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Flatten
from cnnbench.spec.layers.arithmetic import Affine

NAME = "gradient"


def check_gradient(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Local gradients with seeded cotangents, the loss term, then the whole network's parameter gradients.

    A large network is checked on smaller images; ``details`` says which.
    """
    small = Oracle(oracle.case.reduced, oracle.cache)
    case = small.case
    if (doubt := wrong_gradient(small)) is not None:
        return doubted(NAME, doubt)
    local, hard = check_local_gradients(NAME, subject, small), hard_oracle(oracle)
    if hard is not None and local.status == "passed":
        with np.errstate(all="ignore"):
            local = joined(local, check_local_gradients(NAME, subject, hard))
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
    return _end_to_end(subject, small, local, tuple(term.use for term in terms))


def prefetch_gradient(oracle: Oracle) -> None:
    """Has the oracle compute each layer's gradients, and the network's with their envelope."""
    small = Oracle(oracle.case.reduced, oracle.cache)
    for name in small.differentiated()[:1]:
        small.gradients(name)  # all are made together
    hard = hard_oracle(oracle)
    if hard is not None:
        with np.errstate(all="ignore"):
            for name in hard.differentiated()[:1]:
                hard.gradients(name)
    if small.case.has_loss:
        gradient_envelope(small)


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


def stored_loss(loss: float, policy: PrecisionPolicy) -> NDArray[Any]:
    """A loss as an array of the type that host arrays of the policy have."""
    return np.asarray(loss, host_dtype(policy))


def _identity(shape: tuple[int, ...]) -> Graph:
    """A graph that only hands its input on, in the whole shape of a network's main output."""
    builder = Builder("loss")
    x = builder.input("value", shape, batched=False)
    return builder.build(builder.add("same", Flatten(start_axis=len(shape) - 1) if shape else Affine(), x))


def _end_to_end(subject: Subject, oracle: Oracle, local: CheckOutcome, terms: tuple[NodeUse, ...]) -> CheckOutcome:
    case = oracle.case
    exact, envelope = gradient_envelope(oracle)
    if (reason := leaves_range(exact, envelope, case.policy)) is not None:
        text = f"{local.message}; end to end {reason}"
        return local.model_copy(update={"message": text, "nodes": (*local.nodes, *terms)})
    owner = owners(case.lowered)
    options = replace(case.options, training=True, fold_batch_norm=False)
    result = subject.gradient(case.graph, case.stored, case.training_batch(), options, case.loss)
    got = {**result.weights, LOSS: stored_loss(result.loss, case.policy)}
    wrong = first_problem(got, exact, case.policy)
    if wrong is not None:
        return CheckOutcome(
            name=NAME,
            status="failed",
            budget_used=np.inf,
            node=owner.get(wrong.name, wrong.name),
            message=f"end to end, {wrong.name}: {wrong.text}",
            details={**local.details, "problem": wrong.problem},
        )
    difference = largest_differences(got, exact)
    shares = envelope.used(difference)
    worst = max(shares, key=lambda name: shares[name])
    share = shares[worst]
    details = {
        **local.details,
        "end_to_end_used": share,
        "end_to_end_worst": worst,
        "alarm_factor": envelope.factor,
        "loss_difference": difference[LOSS],
    }
    known: dict[str, Any] = {"details": details, "nodes": (*local.nodes, *terms)}
    if share <= 1:
        text = f"{local.message}; end to end {share:.3g} of the envelope"
        return local.model_copy(update={**known, "budget_used": max(local.budget_used or 0.0, share), "message": text})
    text = f"end to end, {worst}: {share:.3g} times the envelope, though every layer alone is within its budget"
    node = owner.get(worst, worst)
    text += _uses(case.lowered, node)
    outcome = CheckOutcome(name=NAME, status="failed", budget_used=share, node=node, message=text, **known)
    return with_node(outcome, subject, oracle, lambda: [training_program(oracle)])


def _uses(graph: Graph, owner: str | None) -> str:
    """The nodes over whose uses a shared weight's gradient is summed, as the end of a message."""
    users = graph.sharing.get(owner or "", ())
    return f"; its gradient is a sum over {len(users)} nodes: {', '.join(users)}" if users else ""
