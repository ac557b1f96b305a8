"""What ``verify`` gives: the checks of each backend, as values, as frames and as a table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cnnbench.harness.run.exit_codes import INCONCLUSIVE, OK, WRONG_NUMBERS
from cnnbench.numerics.outcome import CheckOutcome, why_unproven
from cnnbench.numerics.suspicion import REFERENCE, one_definition, suspicion
from cnnbench.output import figures
from cnnbench.output.frame_columns import VERIFIED, VERIFIED_NODES
from cnnbench.output.frames import frame_of, node_row
from cnnbench.output.table import Column, Entry, ReportTable
from cnnbench.output.text import to_text

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class VerifiedBackend:
    """What the checks found on one backend.

    Args:
        reason: Why the backend was skipped; "" where it ran.
        outcomes: One for each check.
    """

    backend: str
    mode: str
    reason: str
    outcomes: tuple[CheckOutcome, ...]

    @property
    def status(self) -> Literal["passed", "failed", "inconclusive", "skipped"]:
        """``failed`` with a failed check, ``passed`` with one that passed and none that failed.

        ``inconclusive`` where no check compared the program's outputs, or the backend could not run the network or its
        nodes alone, whatever else passed.
        """
        found = {outcome.status for outcome in self.outcomes}
        if "failed" in found:
            return "failed"
        if self.unproven is not None:
            return "inconclusive"
        return "passed" if "passed" in found else "skipped"

    @property
    def unproven(self) -> str | None:
        """Why the program is not proven, where it is not and no check failed."""
        return None if any(outcome.status == "failed" for outcome in self.outcomes) else why_unproven(self.outcomes)


@dataclass(frozen=True)
class VerifyResult:
    """What ``verify`` found. ``str`` of it is a table, with what failed in words below.

    Args:
        network: The network's name. precision: the policy under which it ran.
        fault: The fault that was injected, or None.
        backends: One for each backend that was asked for.
    """

    network: str
    precision: str
    fault: str | None
    backends: tuple[VerifiedBackend, ...]

    @property
    def passed(self) -> bool:
        """Whether some check passed, and none failed. Where nothing could be checked it is False."""
        return self.exit_code == OK

    @property
    def exit_code(self) -> int:
        """As ``cnnbench verify`` ends: 0, 4 with a failed check, 5 where nothing, or not the network, was checked."""
        states = {item.status for item in self.backends}
        if "failed" in states:
            return WRONG_NUMBERS
        return OK if "passed" in states and "inconclusive" not in states else INCONCLUSIVE

    def frame(self) -> DataFrame:
        """One row a check; a backend that was skipped has one row without a check."""
        rows: list[dict[str, Any]] = []
        for item in self.backends:
            base = {"network": self.network, "backend": item.backend, "mode": item.mode, "precision": self.precision}
            if not item.outcomes:
                rows.append({**base, "status": item.status, "message": item.reason})
            names = VERIFIED.keys() - base.keys() - {"check"}
            for outcome in item.outcomes:
                rows.append({**base, "check": outcome.name, **{name: getattr(outcome, name) for name in names}})
        return frame_of(rows, VERIFIED)

    def nodes(self) -> DataFrame:
        """The use of error budgets, one row for each check, node and quantity that was compared."""
        rows = [
            {"network": self.network, "backend": item.backend, "mode": item.mode, "precision": self.precision}
            | {"check": outcome.name, **node_row(use)}
            for item in self.backends
            for outcome in item.outcomes
            for use in outcome.nodes
        ]
        return frame_of(rows, VERIFIED_NODES)

    def table(self) -> ReportTable:
        """One row a check, as the command line shows it."""
        rows: list[tuple[Entry, ...]] = []
        for item in self.backends:
            series = Entry(f"{item.backend} {item.mode}")
            if not item.outcomes:
                rows.append((series, *[Entry("-")] * 4, Entry(f"{item.status}: {item.reason}", "muted")))
            for outcome in item.outcomes:
                used = (outcome.budget_used, outcome.worst_case_used)
                shares = (Entry("-" if value is None else figures.budget_used(value)) for value in used)
                tone: Literal["good", "bad", "muted"] = _TONES[outcome.status]
                rows.append(
                    (series, Entry(outcome.name), *shares, Entry(outcome.node or "-"), Entry(outcome.status, tone))
                )
        return ReportTable("", _COLUMNS, tuple(rows))

    def problems(self) -> tuple[str, ...]:
        """What did not pass, in words: one text for each check that says something, or for those that say the same."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for item in self.backends:
            for outcome in item.outcomes:
                if outcome.status != "passed" and outcome.message:
                    text = outcome.message + _how_to_reproduce(item, outcome)
                    found.setdefault((f"{item.backend} {item.mode}", outcome.status, text), []).append(outcome.name)
        said = [f"{series}, {', '.join(names)} {status}: {text}" for (series, status, text), names in found.items()]
        said += [f"{i.backend} {i.mode}, inconclusive: {i.unproven}" for i in self.backends if _adds(i)]
        return tuple(said)

    def __str__(self) -> str:
        return "\n\n".join((to_text(self.table()).rstrip(), *self.problems()))


def with_suspicion(results: Sequence[VerifiedBackend]) -> list[VerifiedBackend]:
    """The same, with a failed check of NumPy's side where it alone disagrees with the others.

    Where it was compared with nothing but itself, a skipped one says so.
    """
    found: dict[str, list[Sequence[CheckOutcome]]] = {}
    for item in results:
        found.setdefault(item.backend, []).append(item.outcomes)
    doubt = suspicion(found)
    outcome = one_definition(found) if doubt is None else doubt.outcome
    if outcome is None:
        return list(results)
    if REFERENCE not in found:
        return [*results, VerifiedBackend(REFERENCE, "reference", "", (outcome,))]
    return [
        replace(item, outcomes=(*item.outcomes, outcome)) if item.backend == REFERENCE else item for item in results
    ]


def _adds(item: VerifiedBackend) -> bool:
    """Whether it is to be said that the program is not proven: no skipped check says so."""
    return item.unproven is not None and all(outcome.status != "skipped" for outcome in item.outcomes)


def _how_to_reproduce(item: VerifiedBackend, outcome: CheckOutcome) -> str:
    if not outcome.reproducer:
        return ""
    return f"\nreproduce with: cnnbench replay {shlex.quote(outcome.reproducer)} -b {item.backend}:{item.mode}"


_TONES: dict[str, Literal["good", "bad", "muted"]] = {"passed": "good", "failed": "bad", "skipped": "muted"}
_COLUMNS = (
    Column("backend", "left"),
    Column("check", "left"),
    Column("budget used"),
    Column("worst case used"),
    Column("largest at", "left"),
    Column("outcome", "left"),
)
