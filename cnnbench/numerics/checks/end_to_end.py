"""The end-to-end check: the program as it is timed, against the envelope of perturbed oracle runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.numerics.calibration import leaves_range
from cnnbench.numerics.checks.local import check_local
from cnnbench.numerics.checks.located import timed_program, with_node
from cnnbench.numerics.checks.verdict import in_one_line
from cnnbench.numerics.comparison import first_problem, largest_differences
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.made_choices import made_choices
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import NOT_APPLICABLE, CheckOutcome
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import producers
from cnnbench.spec.layers import ReLU

NAME = "end_to_end"


def check_end_to_end(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """The network's outputs at inference, with the options (folding, layout, mode) of the timed program.

    Of a network that chooses (suppression, top-k, argmax), the choices are judged first: one that rounding cannot
    decide is wrong at its node. The outputs are then compared with what the reference makes of the same choices.
    """
    case = oracle.case
    made = made_choices(subject, oracle)
    exact, envelope = forward_envelope(oracle, None if made is None else made.choices)
    if any(np.isnan(value).any() for value in exact.values()):
        return CheckOutcome(name=NAME, status="skipped", message=f"{NOT_APPLICABLE}the reference's own outputs are NaN")
    if (reason := leaves_range(exact, envelope, case.policy)) is not None:
        return CheckOutcome(name=NAME, status="skipped", message=reason)
    options = replace(case.options, training=False)
    outputs = subject.forward(case.graph, case.stored, case.inputs, options).outputs
    details: dict[str, Any] = {
        "batch": case.size,
        "folded": options.fold_batch_norm,
        "alarm_factor": envelope.factor,
        "near_ties": _near_ties(oracle),
    }
    if made is not None:
        details["choices_at_ties"] = made.ties
        if made.node is not None:
            return _blame(subject, oracle, made.text, np.inf, details, made.node)
    wrong = first_problem(outputs, exact, case.policy)
    if wrong is not None:
        details["problem"] = wrong.problem
        return _blame(subject, oracle, f"output {wrong.name}: {wrong.text}", np.inf, details)
    difference = largest_differences(outputs, exact)
    shares = envelope.used(difference)
    worst = max(shares, key=lambda name: shares[name])
    size = float(np.abs(exact[worst]).max(initial=0.0))
    details |= {"worst_output": worst, "largest_error": difference[worst], "largest_value": size}
    if not shares[worst] <= 1:
        text = f"output {worst} is {difference[worst]:.3g} off, {shares[worst]:.3g} times the envelope"
        return _blame(subject, oracle, text, shares[worst], details)
    return CheckOutcome(
        name=NAME,
        status="passed",
        budget_used=shares[worst],
        node=producers(case.graph)[dict(case.graph.outputs)[worst]],
        message=f"output {worst} uses {shares[worst]:.3g} of the envelope",
        details=details,
    )


def prefetch_end_to_end(oracle: Oracle) -> None:
    """Has the oracle compute the outputs and their envelope."""
    forward_envelope(oracle)


def _blame(
    subject: Subject, oracle: Oracle, text: str, used: float, details: dict[str, Any], node: str | None = None
) -> CheckOutcome:
    """A failed outcome that names the first node which introduces the error on its own, if one does.

    It stays a failure where that node cannot be looked for.

    Args:
        subject: What failed.
        oracle: Of the case.
        text: What is wrong.
        used: Of the envelope.
        details: Figures to go with it.
        node: The node that shows it, where no other is found.
    """
    outcome = CheckOutcome(name=NAME, status="failed", budget_used=used, message=text, details=details, node=node)
    try:
        local = check_local(subject, oracle)
    except Exception as error:
        said = f"{text}; the node that introduces it could not be looked for: {in_one_line(error)}"
        return outcome.model_copy(update={"message": said})
    if local.status != "failed":
        but = "; every node alone that was compared is within its budget"
        but += f" ({local.details['not_compared']})" if "not_compared" in local.details else ""
        return with_node(outcome, subject, oracle, lambda: [timed_program(oracle)], but)
    found = {"node": local.node, "reproducer": local.reproducer}
    said = f"{text}; first introduced by {local.message}"
    return outcome.model_copy(
        update={**found, "message": said, "details": {**details, "report": local.details.get("report", "")}}
    )


def _near_ties(oracle: Oracle) -> int:
    """Elements so near a ReLU's corner that rounding may move them across."""
    graph, total = oracle.case.lowered, 0
    by_name = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        source = by_name.get(node.inputs[0]) if node.inputs else None
        if isinstance(node.layer, ReLU) and source is not None:
            truth = oracle.outputs(source.name)
            total += int((np.abs(truth.values[0]) <= truth.budgets[0].sharp).sum())
    return total
