"""The training check: some optimiser steps from the same start, inside the envelope of perturbed reference runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.cache import CacheEntry
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import first_problem, largest, largest_differences
from cnnbench.numerics.envelope import (
    calibrate,
    noise,
    num_runs,
    one_rounding,
    perturbed_precision,
    reverse_noise,
    training_budgets,
)
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.subject import Subject, TrainedStep
from cnnbench.numerics.teacher_forcing import owners, with_noise
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Linear
from cnnbench.spec.losses import MeanSquaredError
from cnnbench.spec.streams import stream

Array = NDArray[Any]
NAME = "training"
# A parameter is compared while the envelope is smaller than this share of the way that it has gone.
ENDS_AT = 0.1


@dataclass(frozen=True)
class _Course:
    """The exact course: parameters and running statistics after each step, and the perturbed runs' deviations."""

    exact: list[dict[str, Array]]
    losses: list[float]
    runs: list[list[dict[str, float]]]


@dataclass(frozen=True)
class _Verdict:
    """How a subject's course compares: the largest share, where, and how many comparisons were open."""

    used: float
    name: str | None
    step: int
    compared: int
    ended: int
    factor: float
    problem: str | None = None
    text: str = ""


def check_training(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """First the update rule on one linear layer alone, then the network; a large one on smaller images."""
    small = Oracle(oracle.case.reduced, oracle.cache)
    case = small.case
    rule = _compare(subject, Oracle(_rule_case(case), oracle.cache))
    details: dict[str, Any] = {
        "batch": case.size,
        "image": [list(item.shape) for item in case.graph.inputs],
        "steps": len(case.training.rates),
        "optimizer_used": rule.used,
    }
    if rule.problem is not None or not rule.used <= 1:
        said = rule.text or f"{rule.name} after step {rule.step} is {rule.used:.3g} times the envelope"
        details |= {"problem": rule.problem} if rule.problem else {}
        return CheckOutcome(
            name=NAME,
            status="failed",
            budget_used=rule.used,
            node="optimizer",
            message=f"the update rule on one linear layer: {said}",
            details=details,
        )
    found = _compare(subject, small)
    details |= {"compared": found.compared, "comparisons_ended": found.ended, "alarm_factor": found.factor}
    if found.problem is None and not found.compared:
        text = "the envelope ends every comparison at once"
        return CheckOutcome(name=NAME, status="skipped", message=text, details=details)
    text = f"{found.name} after step {found.step} uses {found.used:.3g} of the envelope"
    if found.problem is not None:
        text, details["problem"] = f"{found.name}: {found.text}", found.problem
    return CheckOutcome(
        name=NAME,
        status="passed" if found.used <= 1 else "failed",
        budget_used=max(found.used, rule.used),
        node=owners(case.lowered)[found.name] if found.name else None,
        message=text,
        details=details,
    )


def prefetch_training(oracle: Oracle) -> None:
    """Has the oracle compute the network's course and its envelope."""
    _course(Oracle(oracle.case.reduced, oracle.cache))


def _rule_case(case: Case) -> Case:
    """One linear layer under the same optimiser and rates: decay, momentum and the rate's place show here."""
    builder = Builder("update rule")
    x = builder.input("x", (5,))
    graph = builder.build(builder.add("linear", Linear(out_features=4), x))
    draw = stream(case.seed, "update rule")
    arrays = {"linear.weight": draw.normal(size=(4, 5)), "linear.bias": draw.normal(size=4)}
    return Case(
        graph=graph,
        arrays={name: array.astype(np.float32) for name, array in arrays.items()},
        batch={"x": draw.normal(size=(3, 5)).astype(np.float32)},
        options=case.options,
        targets=draw.normal(size=(3, 4)).astype(np.float32),
        seed=case.seed,
        training=replace(case.training, loss=MeanSquaredError()),
    )


def _course(oracle: Oracle) -> _Course:
    case = oracle.case
    count = len(case.training.rates)
    key = case.key("training", training=case.training, loss=case.loss, labels=case.labels.tolist())
    entry = oracle.cache.entry(key, lambda entry: _fill_course(entry, case))
    names = sorted(_start(case))
    exact = [{name: np.asarray(entry.read(f"{step}.{name}")) for name in names} for step in range(count)]
    runs = [
        [dict(zip(names, map(float, entry.read(f"{run}.{step}")), strict=True)) for step in range(count)]
        for run in range(num_runs(case))
    ]
    return _Course(exact, [float(value) for value in entry.read("losses")], runs)


def _fill_course(entry: CacheEntry, case: Case) -> None:
    """Writes each state as soon as it is there: one of the exact course and one of a perturbed run are in memory."""
    subject, options = reference().subject, reference_options(training=True)
    batches = [case.training_batch(step) for step in range(len(case.training.rates))]
    losses = []
    for i, step in enumerate(subject.steps(case.lowered, case.stored, batches, options, case.updates)):
        losses.append(step.loss)
        for name, value in _values(step).items():
            entry.write(f"{i}.{name}", value)
        del step  # before the next one is made
    entry.write("losses", np.array(losses))
    budgets = training_budgets(case)
    graph = with_noise(case.lowered, list(budgets))
    reverse = reverse_noise(case, graph, budgets, batches[0])
    options = reference_options(training=True, name=perturbed_precision(case))
    for run in range(num_runs(case)):
        noisy = [{**batch, **noise(case, budgets, run, step)} for step, batch in enumerate(batches)]
        with reverse.perturbed(stream(case.seed, f"reverse noise {run}")) as perturbed:
            for i, step in enumerate(perturbed.steps(graph, one_rounding(case, run), noisy, options, case.updates)):
                moved = _values(step)
                apart = largest_differences(moved, {name: entry.read(f"{i}.{name}") for name in moved})
                entry.write(f"{run}.{i}", np.array([apart[name] for name in sorted(apart)]))
                del step, moved


def _values(step: TrainedStep) -> dict[str, Array]:
    """Weights and running statistics by name."""
    return {**step.training.weights, **step.training.state}


def _start(case: Case) -> dict[str, Array]:
    graph = case.lowered
    moving = [spec.name for spec in graph.named_weights() if spec.trainable] + [s.name for s in graph.named_state()]
    fixed = [spec.name for spec in graph.named_weights() if not spec.trainable]
    return {name: case.stored[name] for name in (*moving, *fixed)}


def _compare(subject: Subject, oracle: Oracle) -> _Verdict:
    case = oracle.case
    course = _course(oracle)
    options = replace(case.options, training=True, fold_batch_norm=False)
    batches = [case.training_batch(step) for step in range(len(case.training.rates))]
    start = _start(case)
    best = _Verdict(0.0, None, 0, 0, 0, 0.0)
    open_names = set(course.exact[0])
    # Closed before the end where a value is wrong, so that the program and what it holds go.
    with closing(subject.steps(case.graph, case.stored, batches, options, case.updates)) as steps:
        for i, step in enumerate(steps):
            got, exact = _values(step), course.exact[i]
            wrong = first_problem(got, exact, case.policy)
            if wrong is not None:
                return replace(best, used=np.inf, step=i + 1, **wrong._asdict())
            envelope = calibrate([run[i] for run in course.runs], _floor(case, exact, i), largest(exact))
            open_names -= _ended(open_names, start, exact, envelope.size)
            shares = envelope.used(largest_differences(got, exact))
            best = replace(best, ended=len(exact) - len(open_names), factor=max(best.factor, envelope.factor))
            for name in sorted(open_names):
                best = replace(best, compared=best.compared + 1)
                if best.name is None or shares[name] > best.used:
                    best = replace(best, used=shares[name], name=name, step=i + 1)
    return best


def _floor(case: Case, exact: Mapping[str, Array], step: int) -> dict[str, float]:
    """Each step stores each value once: (step + 1) roundings."""
    u = case.policy.storage_roundoff * (step + 1)
    return {name: max(u * size, 2.0**-126) for name, size in largest(exact).items()}


def _ended(
    names: set[str], start: Mapping[str, Array], exact: Mapping[str, Array], size: Mapping[str, float]
) -> set[str]:
    """The values whose envelope has grown to a share of their way from the start, so that agreement says nothing."""
    way = largest_differences(start, {name: exact[name] for name in names})
    return {name for name, distance in way.items() if distance > 0 and size[name] > ENDS_AT * distance}
