"""Runs checks by name on a subject: what the harness and ``cnnbench verify`` call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from cnnbench.errors import CnnbenchError, PluginError, SuiteError, UnavailableError, did_you_mean
from cnnbench.execution.culprits import culprit
from cnnbench.numerics.answering_code import renew_reference
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.classes import check_classes
from cnnbench.numerics.checks.determinism import check_determinism, check_gradient_determinism
from cnnbench.numerics.checks.end_to_end import check_end_to_end, prefetch_end_to_end
from cnnbench.numerics.checks.exact import check_exact, prefetch_exact
from cnnbench.numerics.checks.gradient import check_gradient, prefetch_gradient
from cnnbench.numerics.checks.identities import REPEATED, joined, moved
from cnnbench.numerics.checks.local import check_local, prefetch_local
from cnnbench.numerics.checks.special import check_special, prefetch_special
from cnnbench.numerics.checks.timed import check_timed, prefetch_timed
from cnnbench.numerics.checks.training import check_training, prefetch_training
from cnnbench.numerics.checks.verdict import in_one_line
from cnnbench.numerics.memoizing import MemoizingSubject
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import NOT_APPLICABLE, RAISED, REFUSED, CheckOutcome
from cnnbench.numerics.subject import Subject, own_composites

CHECKS: dict[str, Callable[[Subject, Oracle], CheckOutcome]] = {
    "local": check_local,
    "exact": check_exact,
    "end_to_end": check_end_to_end,
    "timed": check_timed,
    "special": check_special,
    "gradient": check_gradient,
    "determinism": check_determinism,
    "gradient_determinism": check_gradient_determinism,
    "training": check_training,
    "classes": check_classes,
}


OF_WHOLE = ("end_to_end", "timed", "special", "determinism", "classes")  # what is asked of a user's own program


PREFETCHED: dict[str, Callable[[Oracle], None]] = {
    "local": prefetch_local,
    "exact": prefetch_exact,
    "end_to_end": prefetch_end_to_end,
    "timed": prefetch_timed,
    "special": prefetch_special,
    "gradient": prefetch_gradient,
    "training": prefetch_training,
}


def prefetch(name: str, case: Case) -> None:
    """Has the oracle compute what a check will need, into the user's cache; nothing for a check that needs little.

    Args:
        name: Of ``CHECKS``.
        case: As the check will have it.
    """
    renew_reference()
    if name in PREFETCHED and applies(name, case):
        PREFETCHED[name](Oracle.of(case))


def applies(name: str, case: Case) -> bool:
    """Whether a check says something of a case's program: a user's own is not taken apart, and does not train here.

    Args:
        name: Of ``CHECKS``.
        case: What is checked.
    """
    return case.options.own is None or name in OF_WHOLE


def run_checks(
    names: Sequence[str], subject: Subject, case: Case, on_progress: Callable[[str], None] | None = None
) -> list[CheckOutcome]:
    """One outcome for each name, in that order.

    Args:
        names: Of ``CHECKS``.
        subject: What is examined.
        case: What it is examined on.
        on_progress: Called with the name of each check as it starts.

    What the subject cannot do (UnavailableError) is a skipped outcome with the reason, and an exception in a plugin's
    code a failed one; other errors pass through. Where weights change no value, some checks are made again with these
    in general position (see ``identities``).

    Raises:
        SuiteError: An unknown name.
    """
    for name in names:
        if name not in CHECKS:
            raise SuiteError(f"unknown check {name!r}", remedy=did_you_mean(name, CHECKS))
    renew_reference()
    if case.whole is None:
        case = replace(case, whole=own_composites(subject))
    oracle = Oracle.of(case)
    timed = (case.graph, replace(case.options, training=False)) if {"timed", "exact"} & {*names} else None
    memoizing = MemoizingSubject(subject, timed)
    repeated = cache(lambda: moved(case))
    outcomes = []
    try:
        for name in names:
            if on_progress is not None:
                on_progress(name)
            outcome = _outcome(name, memoizing, oracle)
            moves = name in REPEATED and case.options.own is None  # which keeps its weights
            if moves and outcome.status == "passed" and (found := repeated()) is not None:
                again, arrays = found
                outcome = joined(outcome, _outcome(name, subject, Oracle.of(again)), arrays)
            outcomes.append(outcome)
    finally:
        memoizing.close()
    return outcomes


def _outcome(name: str, subject: Subject, oracle: Oracle) -> CheckOutcome:
    """What a check says; a plugin's code that raises fails it."""
    if not applies(name, oracle.case):
        text = f"{NOT_APPLICABLE}a program of the user's own runs whole, forward and with its own weights"
        return CheckOutcome(name=name, status="skipped", message=text)
    try:
        return CHECKS[name](subject, oracle)
    except UnavailableError as error:
        return CheckOutcome(name=name, status="skipped", message=in_one_line(error), details={REFUSED: True})
    except PluginError as error:
        said = in_one_line(error)
    except CnnbenchError:
        raise
    except (Exception, SystemExit) as error:
        found = culprit(error)
        if found is None:
            raise
        said = found
    return CheckOutcome(name=name, status="failed", message=said, details={"problem": RAISED})
