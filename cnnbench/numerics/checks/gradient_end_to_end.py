"""The whole-network half of the gradient check: one program's calls, against the envelope of perturbed oracle runs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from cnnbench.execution.host import HostGradients
from cnnbench.numerics.calibration import ENDS_AT, LITTLE_MACS, LOSS, ROUGH, Envelope, leaves_range
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.gradient_calls import (
    AGAIN,
    FIRST,
    OTHER,
    GradientCall,
    GradientProgramCalls,
    gradient_calls,
)
from cnnbench.numerics.checks.located import training_program, with_node
from cnnbench.numerics.comparison import first_problem, largest, largest_differences
from cnnbench.numerics.crossings import share
from cnnbench.numerics.envelope import gradient_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.other_operands import rotated
from cnnbench.numerics.outcome import CheckOutcome, NodeUse
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import stored_loss
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import owners
from cnnbench.numerics.training_crossings import gradient_crossings
from cnnbench.spec.graph import Graph


def check_gradient_end_to_end(
    subject: Subject, oracle: Oracle, local: CheckOutcome, terms: tuple[NodeUse, ...]
) -> CheckOutcome:
    """The gradient of every parameter and the loss, in several calls of one program.

    Args:
        subject: What is examined.
        oracle: Of the case, reduced where it is large.
        local: The outcome of each layer alone, which passed.
        terms: How the loss alone compared.
    """
    case = oracle.case
    exact, envelope = gradient_envelope(oracle)
    local = local.model_copy(update={"nodes": (*local.nodes, *terms)})
    if (reason := leaves_range(exact, envelope, case.policy)) is not None:
        return local.model_copy(update={"message": f"{local.message}; end to end {reason}"})
    batch = case.training_batch()
    options = replace(case.options, training=True, fold_batch_norm=False)
    asked = GradientProgramCalls(case.graph, options, case.loss, case.stored, batch, rotated(case, batch))
    outcome = local
    for call in gradient_calls(subject, asked):
        if call.name in (FIRST, AGAIN):
            found = _judged(oracle, exact, envelope, call.result, local)
            if found.status == "failed" and call.name == AGAIN:
                return found.model_copy(update={"message": f"{call.name}: {found.message}"})
            if found.status == "failed" and "problem" not in found.details:
                return with_node(found, subject, oracle, lambda: [training_program(oracle)])
            outcome = found if call.name == FIRST else outcome
        elif (text := _unlike_reference(case, call, asked, envelope, exact)) is not None:
            return CheckOutcome(
                name=local.name, status="failed", budget_used=np.inf, message=text, details={**outcome.details}
            )
        if outcome.status == "failed":
            return outcome
    return outcome


def _judged(
    oracle: Oracle, exact: dict[str, Any], envelope: Envelope, result: HostGradients, local: CheckOutcome
) -> CheckOutcome:
    """A call on the case's own batch and weights."""
    case = oracle.case
    owner = owners(case.lowered)
    got = {**result.weights, LOSS: stored_loss(result.loss, case.policy)}
    wrong = first_problem(got, exact, case.policy)
    if wrong is not None:
        return CheckOutcome(
            name=local.name,
            status="failed",
            budget_used=np.inf,
            node=owner.get(wrong.name, wrong.name),
            message=f"end to end, {wrong.name}: {wrong.text}",
            details={**local.details, "problem": wrong.problem},
        )
    difference = largest_differences(got, exact)
    crossings = cache(lambda: gradient_crossings(oracle, exact))
    shares = {name: share(envelope, name, difference[name], crossings) for name in envelope.size}
    worst = max(shares, key=lambda name: shares[name])
    used = shares[worst]
    details = {
        **local.details,
        "end_to_end_used": used,
        "end_to_end_worst": worst,
        "alarm_factor": envelope.factor,
        "loss_difference": difference[LOSS],
    }
    known: dict[str, Any] = {"details": details, "nodes": local.nodes}
    if used <= 1:
        text = f"{local.message}; end to end {used:.3g} of the envelope"
        known |= {"status": "passed", "budget_used": max(local.budget_used or 0.0, used)}  # without nodes, too
        return local.model_copy(update={**known, "message": text})
    text = f"end to end, {worst}: {used:.3g} times the envelope, though every layer alone is within its budget"
    node = owner.get(worst, worst)
    text += _uses(case.lowered, node)
    return CheckOutcome(name=local.name, status="failed", budget_used=used, node=node, message=text, **known)


def _unlike_reference(
    case: Case, call: GradientCall, asked: GradientProgramCalls, envelope: Envelope, exact: dict[str, Any]
) -> str | None:
    """What is wrong with a call on another batch or with other weights: grossly other values than the reference's.

    These have no envelope of their own. A large network's are compared where they are the bits of the first call.

    Args:
        case: The network.
        call: What it gave.
        asked: The batch and the weights.
        envelope: Of the case's own batch and weights.
        exact: Those gradients.
    """
    little = call.name == OTHER and case.lowered.macs(case.size) <= LITTLE_MACS
    if not call.same_bits and not little:
        return None
    arrays = asked.arrays if call.name == OTHER else asked.other_arrays
    batch = asked.other if call.name == OTHER or not asked.takes_little else asked.batch
    with np.errstate(all="ignore"):
        found = reference().subject.gradient(case.lowered, arrays, batch, reference_options(training=True), case.loss)
    right = {**found.weights, LOSS: np.asarray(found.loss)}
    if not all(np.isfinite(value).all() for value in right.values()):
        return None
    got = {**call.result.weights, LOSS: stored_loss(call.result.loss, case.policy)}
    if (wrong := first_problem(got, right, case.policy)) is not None:
        return f"{call.name}, {wrong.name}: {wrong.text}"
    sizes, before, gaps = largest(right), largest(exact), largest_differences(got, right)
    for name, gap in gaps.items():
        usual = ROUGH * envelope.factor * envelope.size[name] if name in envelope.size else 0.0
        grown = max(1.0, sizes[name] / before[name]) if before.get(name) else 1.0
        if not gap <= max(usual * grown, ENDS_AT * sizes[name]):
            return f"{call.name}, {name}: {gap:.3g} from the reference, of a largest value of {sizes[name]:.3g}"
    return None


def _uses(graph: Graph, owner: str | None) -> str:
    """The nodes over whose uses a shared weight's gradient is summed, as the end of a message."""
    users = graph.sharing.get(owner or "", ())
    return f"; its gradient is a sum over {len(users)} nodes: {', '.join(users)}" if users else ""
