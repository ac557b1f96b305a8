"""The classes check: a classifier's five best classes of each image, in order, and their probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.calibration import leaves_range
from cnnbench.numerics.checks.located import timed_program, with_node
from cnnbench.numerics.comparison import examine, largest_differences
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome, CheckStatus
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import producers

NAME = "classes"
SHOWN = 5


def check_classes(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """The best classes are the oracle's, in its order, and the softmax of the logits lies within its envelope.

    Two classes whose exact logits are nearer than twice the envelope may change places. If every logit is within e of
    the exact one, every probability is within a factor of exp(2 e).
    """
    case = oracle.case
    name, value = case.graph.outputs[0]
    shape = case.graph.shapes(case.size)[value]
    if len(shape) != 2 or shape[1] < 2:
        return CheckOutcome(name=NAME, status="skipped", message=f"output {name} of shape {shape} is no classifier's")
    node = producers(case.graph)[value]
    exact, envelope = forward_envelope(oracle)
    if (reason := leaves_range(exact, envelope, case.policy)) is not None:
        return CheckOutcome(name=NAME, status="skipped", message=reason)
    truth = exact[name]
    got = subject.forward(case.graph, case.stored, case.inputs, replace(case.options, training=False)).outputs.get(name)
    problem, text = examine(got, truth.shape, case.policy, truth)
    if problem is not None or got is None:
        said, wrong = f"output {name}: {text}", {"problem": problem}
        outcome = CheckOutcome(name=NAME, status="failed", budget_used=np.inf, node=node, message=said, details=wrong)
        return with_node(outcome, subject, oracle, lambda: [timed_program(oracle)])
    admitted = envelope.factor * envelope.size[name]
    wide = np.asarray(got, np.float64)
    used = largest_differences({name: wide}, {name: truth})[name] / admitted
    ours, theirs = best(truth), best(wide)
    misplaced = [i for i in range(len(truth)) if not _admitted(truth[i], ours[i], theirs[i], 2 * admitted)]
    ratio = np.abs(np.log(probabilities(wide)) - np.log(probabilities(truth))).max(initial=0.0) / (2 * admitted)
    details: dict[str, Any] = {
        "classes": theirs.tolist(),
        "probabilities": np.take_along_axis(probabilities(wide), theirs, 1).round(6).tolist(),
        "expected_classes": ours.tolist(),
        "probabilities_used": ratio,
    }
    status: CheckStatus = "failed"
    if misplaced:
        i = misplaced[0]
        text = f"image {i}: best classes {theirs[i].tolist()}, expected {ours[i].tolist()}"
    elif not ratio <= 1:
        used, text = ratio, f"a probability is {ratio:.3g} times its envelope off"
    else:
        status, used = "passed", max(used, ratio)
        text = f"the {ours.shape[1]} best classes of {len(truth)} images agree"
    outcome = CheckOutcome(name=NAME, status=status, budget_used=used, node=node, message=text, details=details)
    return outcome if status == "passed" else with_node(outcome, subject, oracle, lambda: [timed_program(oracle)])


def best(logits: NDArray[Any]) -> NDArray[np.int64]:
    """The classes of the largest logits of each row, the largest first; equal ones in their own order."""
    return np.argsort(-logits, axis=1, kind="stable")[:, : min(SHOWN, logits.shape[1])]


def probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    """softmax along the classes."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(np.maximum(e / e.sum(axis=1, keepdims=True), 2.0**-1022))


def _admitted(exact: NDArray[Any], ours: NDArray[Any], theirs: NDArray[Any], gap: float) -> bool:
    return all(a == b or abs(exact[a] - exact[b]) <= gap for a, b in zip(ours, theirs, strict=True))
