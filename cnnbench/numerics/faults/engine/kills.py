"""The kill table: every fault injected in turn, and whether it was noticed, located, and nothing else with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.injection import examined, faulty_subject, not_injectable
from cnnbench.numerics.faults.engine.registry import fault, faults
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.subject import InProcessSubject

ENOUGH = 10.0  # budgets that a fault must exceed in its configuration


@dataclass(frozen=True)
class Kill:
    """What became of one fault.

    Args:
        killed: The check failed by at least ``ENOUGH`` budgets (or on equality, shape or NaN).
        located: It named the right node or term.
        budget_used: By the faulty backend; infinite where the values could not be compared; None for equality.
        false_alarm: The same configuration failed without the fault.
        skipped: The reason why it could not be run here, or None.
    """

    fault: str
    check: str
    killed: bool
    located: bool
    budget_used: float | None
    clean_budget_used: float | None
    false_alarm: bool
    skipped: str | None = None
    message: str = ""


def kill_table(
    backend: Backend,
    options: ProgramOptions,
    names: Sequence[str | Fault] | None = None,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> list[Kill]:
    """One row a fault: its configuration clean, then with the fault injected into ``backend``.

    Args:
        backend: Loaded.
        options: Mode and precision.
        names: Of faults, or faults themselves; all that are registered where None.
        seed: Of the configurations' data.
        on_progress: Called with each fault's name as it starts.
    """
    rows = []
    for name in faults() if names is None else names:
        item = fault(name) if isinstance(name, str) else name
        if on_progress is not None:
            on_progress(item.name)
        rows.append(_kill(backend, options, item, seed))
    return rows


def _kill(backend: Backend, options: ProgramOptions, item: Fault, seed: int) -> Kill:
    case = examined(item.case(options, seed), item)
    subject = InProcessSubject(backend)
    clean_only = partial(Kill, fault=item.name, check=item.check, killed=False, located=False, false_alarm=False)
    reason = not_injectable(backend, item)
    if reason is not None:
        return clean_only(budget_used=None, clean_budget_used=None, skipped=reason)
    clean = run_checks([item.check], subject, case)[0]
    if clean.status == "skipped":
        return clean_only(budget_used=None, clean_budget_used=None, skipped=clean.message)
    if item.kind in clean.details.get("declared", ()):
        reason = f"the backend declares the same of itself: {clean.details['declared'][item.kind]}"
        return clean_only(budget_used=None, clean_budget_used=clean.budget_used, skipped=reason)
    found = run_checks([item.check], faulty_subject(backend, item), case)[0]
    if found.status == "skipped":  # the defect itself is made of an op that the backend lacks
        return clean_only(budget_used=None, clean_budget_used=clean.budget_used, skipped=found.message)
    if found.status == "passed" and {"not_compared"} <= clean.details.keys() & found.details.keys():
        reason = str(found.details["not_compared"])  # the defect shows in what the backend refuses to run
        return clean_only(budget_used=None, clean_budget_used=clean.budget_used, skipped=reason)
    return Kill(
        fault=item.name,
        check=item.check,
        killed=_is_killed(found),
        located=found.node is not None and found.node in (item.node, item.also),
        budget_used=found.budget_used,
        clean_budget_used=clean.budget_used,
        false_alarm=clean.status == "failed",
        message=found.message,
    )


def _is_killed(outcome: CheckOutcome) -> bool:
    if outcome.status != "failed":
        return False
    if "problem" in outcome.details or outcome.budget_used is None:
        return True
    return math.isnan(outcome.budget_used) or outcome.budget_used >= ENOUGH
