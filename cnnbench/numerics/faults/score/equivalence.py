"""Whether a fault that escaped could have been seen at all: its exact effect against every budget."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnbench.errors import CnnbenchError, UnavailableError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.host import HostGradients, HostResult, HostTraining
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults.engine.injection import faulty_subject, not_injectable
from cnnbench.numerics.faults.grammar.faults import DrawnFault
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import reference_options
from cnnbench.numerics.rounding import host_dtype
from cnnbench.numerics.subject import InProcessSubject, TrainedStep, Updates
from cnnbench.numerics.training_course import Course, course

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.host import HostArrays
    from cnnbench.numerics.case import Case
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss

SEEDS = (0, 1, 2)  # of arrays and inputs; the first is that of the case on which it escaped
ROUNDINGS = 64  # of float32, by which a loss or a slot may move
CHECKS = ("local", "exact", "end_to_end", "special", "gradient", "training")


class Bound(NamedTuple):
    """How far a fault can be seen.

    Args:
        equivalent: Whether its exact effect stays within every budget.
        share: The largest share of any budget that the effect takes.
        text: Where, or why it is not known.
    """

    equivalent: bool
    share: float | None
    text: str


@dataclass(frozen=True)
class ExactSubject:
    """A fault's exact effect as a subject: the reference with the fault, computing in float64.

    Args:
        inner: The faulty reference.
        composites: What the backend under examination has ops of its own for.
    """

    inner: InProcessSubject
    composites: frozenset[str]

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        """One forward pass in float64."""
        found = self.inner.forward(graph, arrays, batch, _exact(options))
        return HostResult(_given(found.outputs, options), _given(found.state, options))

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        """One gradient pass in float64."""
        found = self.inner.gradient(graph, arrays, batch, _exact(options), loss)
        return HostGradients(found.loss, *(_given(part, options) for part in found[1:]))

    def steps(
        self,
        graph: Graph,
        arrays: HostArrays,
        batches: Sequence[HostArrays],
        options: ProgramOptions,
        updates: Updates,
    ) -> Generator[TrainedStep, None, None]:
        """Optimiser steps in float64."""
        for step in self.inner.steps(graph, arrays, batches, _exact(options), updates):
            kept = step.training
            given = None if kept is None else HostTraining(*(_given(part, options) for part in kept))
            yield TrainedStep(step.loss, given)


def _exact(options: ProgramOptions) -> ProgramOptions:
    return replace(reference_options(training=options.training), fold_batch_norm=options.fold_batch_norm)


def _given(arrays: Mapping[Any, Any], options: ProgramOptions) -> dict[Any, Any]:
    """As a backend gives them back: floats in the host's type for the policy."""
    dtype = host_dtype(options.precision)
    return {name: np.asarray(a, dtype) if a.dtype.kind == "f" else np.asarray(a) for name, a in arrays.items()}


def bound_of(drawn: DrawnFault, composites: frozenset[str]) -> Bound:
    """The exact effect of a fault, at every moment, against the budgets of all checks.

    It is put into the reference, which computes in float64: what the checks then find is the fault's effect and one
    rounding of each result; losses and slots, which have no budget, may move by a few roundings. The operands are those
    of the case and of further seeds, on a batch on which the fault shows, and the hard ones of the thorough checks.

    Args:
        drawn: That no check has found.
        composites: What the backend under examination has ops of its own for.
    """
    backend, fault = load_backend("numpy"), drawn.always
    reason = not_injectable(backend, fault)
    if reason is not None:
        return Bound(False, None, f"the reference cannot have it: {reason}")
    if drawn.change.kept:
        return Bound(False, None, "what a program keeps from call to call is no rounding")
    subject = ExactSubject(faulty_subject(backend, fault), composites)
    right = ExactSubject(InProcessSubject(backend), composites)
    share, where = 0.0, "nowhere"
    for case in _cases(drawn):
        try:
            moved = _moved_terms(case, right, subject) if drawn.where in ("loss", "optimizer") else ""
            outcomes = [] if moved else run_checks(CHECKS, subject, case)
        except CnnbenchError as error:
            return Bound(False, None, f"the reference with it raised {type(error).__name__}")
        if moved:
            return Bound(False, None, f"{moved}, seed {case.seed}")
        for outcome in outcomes:
            if outcome.status == "failed" and not _fails(right, outcome.name, case):
                return Bound(False, outcome.budget_used, f"{outcome.name} of seed {case.seed}: {outcome.message}")
            if outcome.status != "failed" and outcome.budget_used is not None and outcome.budget_used > share:
                share, where = outcome.budget_used, f"{outcome.name} of seed {case.seed}, {outcome.node}"
    return Bound(True, share, f"{share:.2g} of the budget at most ({where})")


def _fails(right: ExactSubject, check: str, case: Case) -> bool:
    """Whether the reference without a fault fails the check, too: then its failure says nothing of the fault."""
    (outcome,) = run_checks([check], right, case)
    return outcome.status == "failed"


def _moved_terms(case: Case, right: ExactSubject, wrong: ExactSubject) -> str:
    """Which of the losses and slots, that have no budget of their own, the fault moves by more than rounding; or ''."""
    if not case.has_loss:
        return ""
    options, batch = replace(case.options, training=True, fold_batch_norm=False), case.training_batch()
    try:
        losses = [s.gradient(case.graph, case.stored, batch, options, case.loss).loss for s in (right, wrong)]
    except UnavailableError:  # there are no gradients
        return ""
    if not _near(*losses):
        return f"the loss is {losses[1]:.6g} for {losses[0]:.6g}"
    updates = Updates(case.loss, case.training.optimizer, case.training.rates)
    batches = [batch] * len(updates.rates)
    runs = [s.steps(case.graph, case.stored, batches, options, updates) for s in (right, wrong)]
    rounding = course(Oracle.of(case))
    for number, (exact, got) in enumerate(zip(*runs, strict=True), 1):
        if not _near(exact.loss, got.loss):
            return f"the loss of step {number} is {got.loss:.6g} for {exact.loss:.6g}"
        if exact.training is None or got.training is None:
            continue
        for name, slot in exact.training.slots.items():
            gap = np.abs(got.training.slots[name] - slot).max(initial=0.0)
            if not _near(slot, got.training.slots[name]) and not _is_lost(rounding, number, name, gap):
                return f"the slot {name} after step {number} is another"
    return ""


def _is_lost(found: Course, number: int, name: str, gap: float) -> bool:
    """Whether rounding alone moves a value by this much and by a good share of its size.

    So it moves the slot of a bias before a batch norm, whose gradient is 0.
    """
    if number > len(found.exact) or name in found.open_names[number - 1]:
        return False
    return bool(gap <= found.envelopes[number - 1].size[name])


def _near(exact: Any, got: Any) -> bool:
    return bool(np.abs(got - exact).max(initial=0.0) <= ROUNDINGS * 2.0**-24 * np.abs(exact).max(initial=0.0))


def _cases(drawn: DrawnFault) -> Iterator[Case]:
    own = drawn.case
    for seed in SEEDS:
        case = network_case(drawn.id.network, own.options, seed, drawn.occasion.images)
        yield replace(case, whole=own.whole, thorough=True)
