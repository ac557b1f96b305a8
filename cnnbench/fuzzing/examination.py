"""Checks one network on one backend, and reduces a failure to the smallest network that fails alike."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cnnbench.errors import CnnbenchError, WorkerError
from cnnbench.fuzzing.findings import NETWORK, Finding, Signature, as_yaml, signature_of, without_numbers
from cnnbench.fuzzing.values import all_values, refilled
from cnnbench.measurement.clock import Clock
from cnnbench.numerics.answering_code import code_digest
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.network_file import write_network
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.reduction import cut_name, reduce
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.value_reduction import reduce_values
from cnnbench.spec.graph import Graph

Array = NDArray[Any]
WORKER = "worker"  # what is called failed where a backend's process ended
OWN = "cnnbench"  # and where a check raised
CHECKS = ("local", "exact", "end_to_end", "gradient")
REDUCTION_S = 180.0
TRIES = 150
SLOW_TRIES = 40


@dataclass(frozen=True)
class Series:
    """A backend in one of its modes, as networks are run on it.

    Args:
        backend, mode: Their names.
        subject: Gives what is examined; called anew after a process of it has ended.
        precisions: That it has. layouts: beside ``auto``.
        versions: Of its packages.
        slow: Whether a compiler takes seconds for each program: fewer are then compiled, without those of the check
            ``special`` and with a few to reduce a failure.
    """

    backend: str
    mode: str
    subject: Callable[[], Subject]
    precisions: tuple[str, ...]
    layouts: tuple[str, ...]
    versions: Callable[[], Mapping[str, str]]
    slow: bool = False

    @property
    def name(self) -> str:
        """``torch compile``."""
        return f"{self.backend} {self.mode}"

    @property
    def tries(self) -> int:
        """How many smaller networks are run to reduce a failure."""
        return SLOW_TRIES if self.slow else TRIES

    def question(self, case: Case) -> Case | None:
        """The case in this mode; None where the backend lacks its precision."""
        if case.policy.name not in self.precisions:
            return None
        layout = case.options.layout if case.options.layout in self.layouts else "auto"
        return replace(case, options=replace(case.options, mode=self.mode, layout=layout))


class FailedCheck(NamedTuple):
    """What failed: its name, and the outcome of the check."""

    signature: Signature
    outcome: CheckOutcome


def examine(series: Series, case: Case, checks: Sequence[str]) -> tuple[list[CheckOutcome], list[FailedCheck]]:
    """The outcomes of the checks on a case that is in the series' mode, and what failed.

    Args:
        series: Who runs it.
        case: The question.
        checks: Names of ``CHECKS``. A process that ends is the failed outcome of ``worker``.
    """
    try:
        outcomes = run_checks(checks, series.subject(), case)
    except WorkerError as error:
        outcomes = [_ended(WORKER, error)]
    except Exception as error:  # a defect of a check is found, too, and ends nothing
        outcomes = [_ended(OWN, error)]
    failures = [FailedCheck(_named(series, item, case), item) for item in outcomes if item.status == "failed"]
    return outcomes, failures


def _ended(name: str, error: Exception) -> CheckOutcome:
    said = "".join(str(error).splitlines()[:1])
    place = traceback.extract_tb(error.__traceback__)[-1]
    problem = type(error).__name__ if name == WORKER else f"{type(error).__name__} in {place.name}"
    return CheckOutcome(name=name, status="failed", message=f"{problem}: {said}", details={"problem": problem})


def _named(series: Series, outcome: CheckOutcome, case: Case) -> Signature:
    if outcome.name in (WORKER, OWN):
        quantity = without_numbers(outcome.message)
        return Signature(
            backend=series.backend, mode=series.mode, check=outcome.name, kind=NETWORK, quantity=quantity, ended=True
        )
    return signature_of(outcome, case).model_copy(update={"backend": series.backend})


def reduced(
    series: Series, case: Case, failure: FailedCheck, checks: Sequence[str], clock: Clock
) -> tuple[Case, CheckOutcome]:
    """The smallest case that fails as the whole one does, with its outcome.

    Args:
        series: Who runs it.
        case: The whole one.
        failure: What failed in it.
        checks: That were run, for a process that ends in one of them.
        clock: By which ``REDUCTION_S`` pass.
    """
    end = clock.now() + REDUCTION_S
    names = tuple(checks) if failure.outcome.name in (WORKER, OWN) else (failure.outcome.name,)
    best: dict[str, Any] = {"case": case, "outcome": failure.outcome}

    def fails(candidate: Case) -> bool:
        if clock.now() > end:
            return False
        try:
            _, failures = examine(series, candidate, names)
        except CnnbenchError:
            return False
        found = next((item for item in failures if _alike(item, failure)), None)
        if found is not None:
            best.update(case=candidate, outcome=found.outcome)
        return found is not None

    tries = min(series.tries, 12) if failure.outcome.name == WORKER else series.tries
    for whole in (replace(case, graph=case.lowered), case):
        if whole.graph is case.graph or fails(whole):
            values = {cut_name(name): value for name, value in all_values(whole).items()}

            def still_fails(graph: Graph, source: Case = whole, known: Mapping[str, Array] = values) -> bool:
                return fails(refilled(source, graph, known))

            reduce(whole.graph, still_fails, batch=whole.size, tries=tries)
            break
    _plainer_values(best, fails, tries)
    return best["case"], best["outcome"]


def _plainer_values(best: Mapping[str, Any], fails: Callable[[Case], bool], tries: int) -> None:
    small: Case = best["case"]
    if sum(math.prod(item.full_shape(small.size)) for item in small.graph.inputs) <= 4096:
        reduce_values(small.inputs, lambda batch: fails(replace(small, batch=batch)), tries=tries // 3)
        found: Case = best["case"]
        reduce_values(found.stored, lambda arrays: fails(replace(found, arrays=arrays)), tries=tries // 3)


def _alike(found: FailedCheck, wanted: FailedCheck) -> bool:
    """Whether it is the same failure: of the same check and kind; any kind where the whole named none."""
    ours, theirs = found.signature, wanted.signature
    same_check = ours.check == theirs.check
    same_end = ours.ended == theirs.ended and (not ours.ended or ours.quantity == theirs.quantity)
    return same_check and theirs.kind in (NETWORK, ours.kind) and same_end


def finding(
    series: Series, whole: Case, small: Case, failure: FailedCheck, number: int, folder: Path | None = None
) -> Finding:
    """The report of a reduced failure, and its reproducer in the folder.

    Args:
        series: Who failed.
        whole: The network in which it was seen.
        small: The reduced one.
        failure: Its name in the whole network, and its outcome in the small one.
        number: Of the network.
        folder: Where the file goes; None for nowhere.
    """
    outcome, file = failure.outcome, None
    check = outcome.name if outcome.name not in (WORKER, OWN) else CHECKS[0]
    if folder is not None:
        safe = "".join(c if c.isalnum() else "_" for c in str(failure.signature))[:80].strip("_")
        file = f"{number}-{safe}.safetensors"
        write_network(folder / file, small, check)
    used = outcome.budget_used
    return Finding(
        signature=failure.signature,
        number=number,
        precision=small.policy.name,
        nodes=len(small.graph.nodes),
        before=len(whole.graph.nodes),
        share=used if used is not None and math.isfinite(used) else None,
        message=outcome.message,
        network=as_yaml(small.graph),
        file=file,
        versions=dict(series.versions()),
        code=code_digest(),
    )
