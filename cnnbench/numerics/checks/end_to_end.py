"""The end-to-end check: the program as it is timed, against the envelope of perturbed oracle runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.calibration import leaves_range
from cnnbench.numerics.checks.local import check_local
from cnnbench.numerics.checks.verdict import describe, evidence, in_one_line
from cnnbench.numerics.comparison import first_problem, largest_differences
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.location import BisectedProgram, locate, source_of
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import NOT_APPLICABLE, CheckOutcome
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import output_names, producers
from cnnbench.spec.layers import ReLU

NAME = "end_to_end"
LOCATED_AT = 0.25  # of the envelope: right programs use less, so that the first wrong value is seen where it arises


def check_end_to_end(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """The network's outputs at inference, with the options (folding, layout, mode) of the timed program."""
    case = oracle.case
    exact, envelope = forward_envelope(oracle)
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


def _blame(subject: Subject, oracle: Oracle, text: str, used: float, details: dict[str, Any]) -> CheckOutcome:
    """A failed outcome that names the first node which introduces the error on its own, if one does.

    It stays a failure where that node cannot be looked for.
    """
    outcome = CheckOutcome(name=NAME, status="failed", budget_used=used, message=text, details=details)
    try:
        local = check_local(subject, oracle)
    except Exception as error:
        said = f"{text}; the node that introduces it could not be looked for: {in_one_line(error)}"
        return outcome.model_copy(update={"message": said})
    if local.status != "failed":
        return _bisected(subject, oracle, outcome, local.details.get("not_compared", ""))
    found = {"node": local.node, "reproducer": local.reproducer}
    said = f"{text}; first introduced by {local.message}"
    return outcome.model_copy(
        update={**found, "message": said, "details": {**details, "report": local.details.get("report", "")}}
    )


def _bisected(subject: Subject, oracle: Oracle, outcome: CheckOutcome, not_compared: str) -> CheckOutcome:
    """The failed outcome with the nodes at which the program goes wrong, where they are right by themselves."""
    head = f"{outcome.message}; every node alone that was compared is within its budget"
    head += f" ({not_compared})" if not_compared else ""
    try:
        program = _program(oracle)
        found = locate(subject, program)
    except Exception as error:
        said = f"{head}; the node at which the program goes wrong could not be looked for: {in_one_line(error)}"
        return outcome.model_copy(update={"message": said})
    if found is None:
        return outcome.model_copy(update={"message": f"{head}, and so are the prefixes of the program"})
    more = evidence(found.failure, source_of(NAME, program, found, oracle.case.folder))
    return outcome.model_copy(
        update={
            "node": found.nodes[0],
            "message": f"{head}; the program goes wrong at {found.text}: {describe(found.failure)}",
            "reproducer": more.pop("reproducer", None),
            "details": {**outcome.details, **more, "nodes": list(found.nodes)},
        }
    )


def _program(oracle: Oracle) -> BisectedProgram:
    """The timed program; each value within it may be off by a quarter of what the outputs may, relative to its size."""
    case, graph = oracle.case, oracle.case.lowered
    exact, envelope = forward_envelope(oracle)
    sizes = {name: float(np.abs(value).max(initial=0.0)) for name, value in exact.items()}
    admitted = max(envelope.factor * envelope.size[name] / max(size, 2.0**-100) for name, size in sizes.items())
    makers = producers(graph)

    def truth(value: str) -> tuple[Any, Budget]:
        node = graph.node(makers[value])
        right = np.asarray(oracle.outputs(node.name).values[output_names(graph, node).index(value)])
        most = np.asarray(max(LOCATED_AT * admitted * float(np.abs(right).max(initial=0.0)), 2.0**-126))
        return right, Budget(most, most)

    options = replace(case.options, training=False)
    return BisectedProgram(graph, case.stored, case.inputs, options, truth, "a share of the envelope")


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
