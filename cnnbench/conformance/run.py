"""Runs the shared cases on a subject: each layer alone, forward, backward, and bit for bit on integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cnnbench.conformance.cases import LayerCase, layer_cases, side_by_side
from cnnbench.errors import CnnbenchError, SuiteError, did_you_mean
from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.subject import Subject
from cnnbench.spec.graph import is_within

CHECKS = ("local", "exact", "gradient")


@dataclass(frozen=True)
class CaseResult:
    """What became of one case; ``outcomes`` holds one for each check."""

    case: str
    status: Literal["passed", "failed", "skipped"]
    message: str
    outcomes: tuple[CheckOutcome, ...] = ()


def run_cases(
    subject: Subject,
    options: ProgramOptions,
    names: Sequence[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
    pack: int = 1,
) -> list[CaseResult]:
    """One result a case.

    Args:
        subject: The backend, here or in a worker.
        options: Mode, precision and layout.
        names: Of ``layer_cases``; all of them where None.
        on_progress: Called with each case's name as it starts.
        pack: How many layers stand side by side in one graph, so that a compiler runs once for all of them. A pack
            that does not pass as a whole is halved until what fails or is skipped stands alone.

    Raises:
        SuiteError: An unknown name.
    """
    known = layer_cases()
    wanted = list(known if names is None else names)
    for name in wanted:
        if name not in known:
            raise SuiteError(f"unknown case {name!r}", remedy=did_you_mean(name, known))
    report = on_progress or (lambda name: None)
    results: dict[str, CaseResult] = {}
    for group in packs({name: known[name] for name in wanted}, pack):
        results |= {result.case: result for result in _run_pack(subject, options, group, report)}
    return [results[name] for name in wanted]


def packs(cases: Mapping[str, LayerCase], size: int) -> Iterator[list[str]]:
    """The cases in groups of at most ``size`` that can share a graph: as many images, as positive."""
    groups: dict[tuple[int, bool], list[str]] = {}
    for name, case in cases.items():
        group = groups.setdefault((case.batch, case.positive), [])
        group.append(name)
        if len(group) == size:
            yield groups.pop((case.batch, case.positive))
    yield from groups.values()


def _run_pack(
    subject: Subject, options: ProgramOptions, names: list[str], report: Callable[[str], None]
) -> Iterator[CaseResult]:
    known = layer_cases()
    if len(names) > 1:
        try:
            outcomes = run_checks(CHECKS, subject, side_by_side([known[name] for name in names], options))
        except Exception:  # whatever a framework raises: alone, it is one case's failure
            outcomes = None
        if outcomes is not None and all(_whole(outcome) for outcome in outcomes):
            for i, name in enumerate(names):
                report(name)
                yield CaseResult(name, "passed", outcomes[0].message, tuple(_share(o, f"layer{i}") for o in outcomes))
            return
        middle = len(names) // 2
        yield from _run_pack(subject, options, names[:middle], report)
        yield from _run_pack(subject, options, names[middle:], report)
        return
    report(names[0])
    yield _run_alone(subject, options, names[0])


def _whole(outcome: CheckOutcome) -> bool:
    """Whether a check covered all that it can: nothing of it was refused, for want of an op or of a gradient."""
    if "refused" in outcome.details or "not_compared" in outcome.details:
        return False
    return outcome.status == "passed" or (outcome.status == "skipped" and bool(outcome.details))


def _share(outcome: CheckOutcome, node: str) -> CheckOutcome:
    """Of a pack's outcome, what is one layer's; its own largest use of the budget."""
    nodes = tuple(use for use in outcome.nodes if is_within(use.node, node))
    if not nodes:
        return outcome.without_nodes()
    worst = max(nodes, key=lambda use: use.sharp_used)
    used = max(use.worst_case_used for use in nodes)
    share = {"budget_used": worst.sharp_used, "worst_case_used": used, "node": worst.node, "nodes": nodes}
    return outcome.model_copy(update=share)


def _run_alone(subject: Subject, options: ProgramOptions, name: str) -> CaseResult:
    try:
        outcomes = tuple(run_checks(CHECKS, subject, layer_cases()[name].case(options)))
    except CnnbenchError as error:
        return CaseResult(name, "failed", str(error))
    except Exception as error:  # of the framework: it must not keep the other cases from running
        return CaseResult(name, "failed", f"{type(error).__name__}: {error}")
    failure = next((o for o in outcomes if o.status == "failed"), None)
    if failure is not None:
        return CaseResult(name, "failed", f"{failure.name}: {failure.message}", outcomes)
    status: Literal["passed", "skipped"] = "skipped" if outcomes[0].status == "skipped" else "passed"
    return CaseResult(name, status, outcomes[0].message, outcomes)
