"""The training check: early, late and resumed steps of one program, within the envelopes of reference runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.errors import UnavailableError
from cnnbench.execution.host import SlotName
from cnnbench.numerics.calibration import LOSS
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.gradient import loss_terms
from cnnbench.numerics.checks.training_steps import StepsVerdict, compare_steps
from cnnbench.numerics.checks.verdict import describe, failing
from cnnbench.numerics.cut_choices import cut_at_choices
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import NOT_APPLICABLE, CheckOutcome
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import owners
from cnnbench.numerics.training_course import course
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Linear
from cnnbench.spec.losses import MeanSquaredError
from cnnbench.spec.streams import stream
from cnnbench.training.steps import HELD

NAME = "training"
OPTIMIZER = "optimizer"


def check_training(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """First the update rule on one linear layer alone, then the network; a large one on smaller images.

    Discrete choices of the network are given, so that none flips from step to step.

    Each is one program that takes the first steps, many more at the rate 0, some late steps, those again from the
    state before them, and the first steps again. So a defect shows that begins at any of these steps, or with a load.
    An element that stays as it was in all of the first steps, far as the reference moves it, fails in any envelope.
    """
    small = cut_at_choices(Oracle(oracle.case.reduced.with_objective, oracle.cache))
    case = small.case
    if not case.has_loss:
        raise UnavailableError("no loss can be taken of this network's output, so that it cannot be trained")
    rule = compare_steps(subject, Oracle(_rule_case(case), oracle.cache))
    details: dict[str, Any] = {
        "batch": case.size,
        "image": [list(item.shape) for item in case.graph.inputs],
        "steps": len(case.training.rates),
        "optimizer_used": rule.used,
    }
    if not rule.used <= 1:
        text = f"the update rule on one linear layer: {rule.where}: {rule.text}"
        return _failed(rule, LOSS if rule.name == LOSS else OPTIMIZER, text, details)
    found = compare_steps(subject, small)
    if not found.steps:
        text = f"{NOT_APPLICABLE}the training leaves the range of {case.policy.name} at its first step"
        return CheckOutcome(name=NAME, status="skipped", message=text, details=details)
    details |= {
        "compared": found.compared,
        "comparisons_ended": found.ended,
        "alarm_factor": found.factor,
        "steps": found.steps,
        "steps_of_the_program": found.taken,
        "learning_rates": list(found.rates),
    }
    if not found.used <= 1:
        node, text = _blamed(subject, case, found)
        return _failed(found, node, text, details)
    if not found.compared:
        text = f"{NOT_APPLICABLE}rounding moves every value by a tenth of its way within one step"
        return CheckOutcome(name=NAME, status="skipped", message=text, details=details)
    return CheckOutcome(
        name=NAME,
        status="passed",
        budget_used=max(found.used, rule.used),
        node=_holder(case, found),
        message=f"{found.where}: {found.text}",
        details=details,
    )


def prefetch_training(oracle: Oracle) -> None:
    """Has the oracle compute the network's course and its envelope."""
    course(cut_at_choices(Oracle(oracle.case.reduced.with_objective, oracle.cache)))


def _blamed(subject: Subject, case: Case, found: StepsVerdict) -> tuple[str | None, str]:
    """The node or term that a failure of the network's steps names, and what is said of it.

    A wrong loss is the loss's own where it is wrong by itself, or where all that the training goes on from is right.
    """
    text = f"{found.where}: {found.text}"
    if (said := _wrong_loss(subject, case)) is not None:
        return LOSS, f"{text}; {said}"
    if found.name != LOSS:
        return _holder(case, found), text
    if found.problem or found.beyond == {LOSS}:
        return LOSS, text
    return None, f"{text}; the loss of right outputs is right"


def _holder(case: Case, found: StepsVerdict) -> str | None:
    """The node whose weight, slot or running statistic a verdict is of."""
    name = found.name.weight if isinstance(found.name, SlotName) else found.name
    return None if name is None else owners(case.lowered).get(name)


def _wrong_loss(subject: Subject, case: Case) -> str | None:
    """What is wrong with the loss alone, in a gradient or in a step, if anything is."""
    terms = loss_terms(subject, case, in_step=True)
    return None if failing(terms) is None else next(describe(term) for term in terms if failing([term]))


def _failed(found: StepsVerdict, node: str | None, text: str, details: dict[str, Any]) -> CheckOutcome:
    more = {"problem": found.problem} if found.problem else {}
    return CheckOutcome(
        name=NAME, status="failed", budget_used=found.used, node=node, message=text, details={**details, **more}
    )


def _rule_case(case: Case) -> Case:
    """One linear layer under the same optimiser and rates: decay, momentum and the rate's place show here.

    Where the rule has an epsilon, a column of weights has gradients of its size, so that its place shows too. Where
    gradients are to be clipped, targets are far enough off, and a row of weights is smaller than clipping's epsilon.
    """
    builder = Builder("update rule")
    x = builder.input("x", (5,))
    graph = builder.build(builder.add("linear", Linear(out_features=4), x))
    draw = stream(case.seed, "update rule")
    arrays = {"linear.weight": draw.normal(size=(4, 5)), "linear.bias": draw.normal(size=4)}
    inputs = draw.normal(size=(3, 5))
    epsilon = getattr(case.training.optimizer, "epsilon", None)
    if epsilon is not None:
        arrays["linear.weight"][:, 0] = 0.0  # so that no decay hides the gradient
        inputs[:, 0] *= epsilon
    targets = draw.normal(size=(3, 4))
    if (clipping := case.training.optimizer.clipping) is not None:
        targets *= max(1.0, 8 * clipping.limit)
        if clipping.kind == "adaptive":
            arrays["linear.weight"][0] *= 0.5 * clipping.floor / np.linalg.norm(arrays["linear.weight"][0])
    return Case(
        graph=graph,
        arrays={name: array.astype(np.float32) for name, array in arrays.items()},
        batch={"x": inputs.astype(np.float32)},
        options=case.options,
        targets=targets.astype(np.float32),
        seed=case.seed,
        training=replace(case.training, loss=MeanSquaredError(), held=HELD),
    )
