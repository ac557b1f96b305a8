"""Runs the shared cases on a subject: each layer alone, forward, backward, and bit for bit on integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cnnbench.conformance.cases import layer_cases
from cnnbench.errors import CnnbenchError, SuiteError, did_you_mean
from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.outcome import Outcome
from cnnbench.numerics.subject import Subject

CHECKS = ("local", "exact", "gradient")


@dataclass(frozen=True)
class CaseResult:
    """What became of one case; ``outcomes`` holds one for each check."""

    case: str
    status: Literal["passed", "failed", "skipped"]
    message: str
    outcomes: tuple[Outcome, ...] = ()


def run_cases(
    subject: Subject,
    options: ProgramOptions,
    names: Sequence[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> list[CaseResult]:
    """One result a case.

    Args:
        subject: The backend, here or in a worker.
        options: Mode, precision and layout.
        names: Of ``layer_cases``; all of them where None.
        on_progress: Called with each case's name as it starts.

    Raises:
        SuiteError: An unknown name.
    """
    known = layer_cases()
    results = []
    for name in known if names is None else names:
        if name not in known:
            raise SuiteError(f"unknown case {name!r}", remedy=did_you_mean(name, known))
        if on_progress is not None:
            on_progress(name)
        try:
            outcomes = tuple(run_checks(CHECKS, subject, known[name].case(options)))
        except CnnbenchError as error:
            results.append(CaseResult(name, "failed", str(error)))
            continue
        failure = next((o for o in outcomes if o.status == "failed"), None)
        if failure is not None:
            results.append(CaseResult(name, "failed", f"{failure.name}: {failure.message}", outcomes))
        elif outcomes[0].status == "skipped":
            results.append(CaseResult(name, "skipped", outcomes[0].message, outcomes))
        else:
            results.append(CaseResult(name, "passed", outcomes[0].message, outcomes))
    return results
