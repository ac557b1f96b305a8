"""The gradient check: each layer's gradients alone, the loss alone, and every parameter's gradient end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnnbench.numerics.budgets.loss import loss_gradient_budget
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.local_gradient import check_local_gradients
from cnnbench.numerics.checks.verdict import describe, doubted, failing
from cnnbench.numerics.comparison import Comparison, Place, compare, first_problem, largest_differences
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome, NodeUse
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.second_opinions import wrong_gradient
from cnnbench.numerics.subject import Subject
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
    local = check_local_gradients(NAME, subject, small)
    if local.status == "failed" or not case.has_loss:
        return local
    term = loss_term(subject, case)
    if failing([term]) is not None:
        known = {**local.details, **({"problem": term.problem} if term.problem else {})}
        return CheckOutcome(
            name=NAME,
            status="failed",
            budget_used=term.use.sharp_used,
            worst_case_used=term.use.worst_case_used,
            node="loss",
            message=describe(term),
            details=known,
            nodes=(*local.nodes, term.use),
        )
    return _end_to_end(subject, small, local, term.use)


def prefetch_gradient(oracle: Oracle) -> None:
    """Has the oracle compute each layer's gradients, and the network's with their envelope."""
    small = Oracle(oracle.case.reduced, oracle.cache)
    for name in small.differentiated()[:1]:
        small.gradients(name)  # all are made together
    if small.case.has_loss:
        gradient_envelope(small)


def loss_term(subject: Subject, case: Case) -> Comparison:
    """The loss's gradient with respect to the main output, on seeded normal values around the right size."""
    value = case.graph.outputs[0][1]
    shape = case.graph.shapes(case.size)[value]
    graph = _identity(shape)
    x = to_storage(np.random.Generator(np.random.Philox(case.seed)).normal(size=shape) * 2, case.policy)
    batch = {"value": x, "targets": case.labels}
    exact = reference().subject.gradient(graph, {}, batch, reference_options(training=True), case.loss)
    options = replace(case.options, training=True, fold_batch_norm=False)
    result = subject.gradient(graph, {}, batch, options, case.loss)
    gradient = exact.inputs["value"]
    budget = loss_gradient_budget(case.loss, np.asarray(x), case.labels, gradient, case.policy)
    place = Place("loss", case.loss.kind, Quantity.loss_gradient())
    return compare(place, result.inputs.get("value"), gradient, budget, case.policy)


def _identity(shape: tuple[int, ...]) -> Graph:
    """A graph that only hands its input on, in the whole shape of a network's main output."""
    builder = Builder("loss")
    x = builder.input("value", shape, batched=False)
    return builder.build(builder.add("same", Flatten(start_axis=len(shape) - 1) if shape else Affine(), x))


def _end_to_end(subject: Subject, oracle: Oracle, local: CheckOutcome, term: NodeUse) -> CheckOutcome:
    case = oracle.case
    exact, envelope = gradient_envelope(oracle)
    owner = owners(case.lowered)
    options = replace(case.options, training=True, fold_batch_norm=False)
    result = subject.gradient(case.graph, case.stored, case.training_batch(), options, case.loss)
    wrong = first_problem(result.weights, exact, case.policy)
    if wrong is not None:
        return CheckOutcome(
            name=NAME,
            status="failed",
            budget_used=np.inf,
            node=owner[wrong.name],
            message=f"end to end, {wrong.name}: {wrong.text}",
            details={**local.details, "problem": wrong.problem},
        )
    shares = envelope.used(largest_differences(result.weights, exact))
    worst = max(shares, key=lambda name: shares[name], default=None)
    share = shares[worst] if worst is not None else 0.0
    details = {
        **local.details,
        "end_to_end_used": share,
        "end_to_end_worst": worst,
        "alarm_factor": envelope.factor,
        "loss_difference": abs(result.loss - envelope.loss),
    }
    passed = share <= 1
    return CheckOutcome(
        name=NAME,
        status="passed" if passed else "failed",
        budget_used=max(local.budget_used or 0.0, share) if passed else share,
        worst_case_used=local.worst_case_used if passed else None,
        node=local.node if passed else owner.get(worst or ""),
        message=f"{local.message}; end to end {share:.3g} of the envelope"
        if passed
        else f"end to end, {worst}: {share:.3g} times the envelope, though every layer alone is within its budget"
        + _uses(case.lowered, owner.get(worst or "")),
        details=details,
        nodes=(*local.nodes, term),
    )


def _uses(graph: Graph, owner: str | None) -> str:
    """The nodes over whose uses a shared weight's gradient is summed, as the end of a message."""
    users = graph.sharing.get(owner or "", ())
    return f"; its gradient is a sum over {len(users)} nodes: {', '.join(users)}" if users else ""
