"""``verify``: the numerical checks of one network in this process, with or without an injected fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision as find_precision
from cnnbench.face.backends import ChosenBackend, chosen_backends
from cnnbench.face.keywords import VerifyKeywords, takes
from cnnbench.face.networks import Model, Network, load
from cnnbench.harness.run.exit_codes import INCONCLUSIVE, OK, WRONG_NUMBERS
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.faults import examined, faulty_subject, require_reach
from cnnbench.numerics.faults import fault as find_fault
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.subject import InProcessSubject, Subject
from cnnbench.output.frame_columns import VERIFIED
from cnnbench.output.frames import frame_of
from cnnbench.output.tables import Column, Entry, Table
from cnnbench.output.text import to_plain
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from pandas import DataFrame

    from cnnbench.numerics.faults import Fault
    from cnnbench.spec.weights import Arrays

BATCH = 2


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
    def status(self) -> Literal["passed", "failed", "skipped"]:
        """``failed`` with a failed check, ``passed`` with one that passed and none that failed."""
        found = {outcome.status for outcome in self.outcomes}
        return "failed" if "failed" in found else "passed" if "passed" in found else "skipped"


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
        """As ``cnnbench verify`` ends: 0, 4 with a failed check, 5 where nothing was checked."""
        states = {item.status for item in self.backends}
        return WRONG_NUMBERS if "failed" in states else OK if "passed" in states else INCONCLUSIVE

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

    def table(self) -> Table:
        """One row a check, as the command line shows it."""
        rows: list[tuple[Entry, ...]] = []
        for item in self.backends:
            series = Entry(f"{item.backend} {item.mode}")
            if not item.outcomes:
                rows.append((series, *[Entry("-")] * 4, Entry(f"{item.status}: {item.reason}", "muted")))
            for outcome in item.outcomes:
                used = (outcome.budget_used, outcome.worst_case_used)
                figures = (Entry("-" if value is None else f"{value:.1%}") for value in used)
                tone: Literal["good", "bad", "muted"] = _TONES[outcome.status]
                rows.append(
                    (series, Entry(outcome.name), *figures, Entry(outcome.node or "-"), Entry(outcome.status, tone))
                )
        return Table("", _COLUMNS, tuple(rows))

    def problems(self) -> tuple[str, ...]:
        """What did not pass, in words: one text for each check that says something."""
        found = []
        for item in self.backends:
            for outcome in item.outcomes:
                if outcome.status != "passed" and outcome.message:
                    text = f"{item.backend} {item.mode}, {outcome.name} {outcome.status}: {outcome.message}"
                    found.append(text + (f"\nreproduce with {outcome.reproducer}" if outcome.reproducer else ""))
        return tuple(found)

    def __str__(self) -> str:
        return "\n\n".join((to_plain(self.table()).rstrip(), *self.problems()))


_TONES: dict[str, Literal["good", "bad", "muted"]] = {"passed": "good", "failed": "bad", "skipped": "muted"}
_COLUMNS = (
    Column("backend", "left"),
    Column("check", "left"),
    Column("budget used"),
    Column("worst case used"),
    Column("largest at", "left"),
    Column("outcome", "left"),
)


@takes(VerifyKeywords)
def verify(
    network: Network,
    *,
    backends: Sequence[str] = (),
    checks: Sequence[str] = (),
    precision: str = "float32",
    fault: str | None = None,
    **how: Unpack[VerifyKeywords],
) -> VerifyResult:
    """Checks a network's numbers on each backend against the float64 reference.

    Args:
        network: A registered name, the path of a YAML or ONNX file, a graph or a model.
        backends: ``NAME`` or ``NAME:MODE`` each; () for every one that is here.
        checks: ``local``, ``exact``, ``end_to_end``, ``gradient`` ...; () for all.
        precision: The policy: ``float64``, ``float32``, ``tf32``, ``bfloat16``, ``float16``.
        fault: A name of ``cnnbench list faults``, which is injected into each backend first.
        how: The keywords below.

    Raises:
        SuiteError: An unknown check or fault, a mode that a backend has not, a fault that the network cannot show.
        UnavailableError: An unknown backend or precision.
        SpecError, DataError: As ``load``.
    """
    chosen = chosen_backends(backends, precision)
    found = None if fault is None else find_fault(fault)
    seed = how.get("seed", 0)
    model = load(network, how.get("weights"), seed=seed, image=how.get("image"), num_classes=how.get("num_classes"))
    inputs = _inputs(model, how.get("batch", BATCH), seed)
    results = []
    for item in chosen:
        if item.reason is not None:
            results.append(VerifiedBackend(item.plugin.name, item.mode, item.reason, ()))
            continue
        if (on_backend := how.get("on_backend")) is not None:
            on_backend(item.series)
        options = ProgramOptions(
            item.mode, find_precision(precision), fold_batch_norm=how.get("fold_batch_norm", False)
        )
        case = _case(Case(model.graph, model.arrays, inputs, options, seed=seed), found)
        if (folder := how.get("folder")) is not None:
            case = replace(case, folder=Path(folder) / f"{model.graph.name}-{item.plugin.name}-{item.mode}")
        outcomes = run_checks(tuple(checks) or tuple(CHECKS), _subject(item, how.get("threads"), found), case)
        results.append(VerifiedBackend(item.plugin.name, item.mode, "", tuple(outcomes)))
    return VerifyResult(model.graph.name, precision, fault, tuple(results))


def _inputs(model: Model, batch: int, seed: int) -> Arrays:
    """Seeded normal numbers."""
    return {
        item.name: stream(seed, "inputs", item.name).normal(size=item.full_shape(batch)).astype("float32")
        for item in model.graph.inputs
    }


def _case(case: Case, fault: Fault | None) -> Case:
    """The question, in the form in which a fault that is to be found can show."""
    if fault is None:
        return case
    case = examined(case, fault)
    require_reach(case, fault)
    return case


def _subject(chosen: ChosenBackend, threads: int | None, fault: Fault | None) -> Subject:
    """The loaded backend, or a faulty one."""
    backend = chosen.load(ProcessSettings(threads=threads))
    return InProcessSubject(backend) if fault is None else faulty_subject(backend, fault.name)
