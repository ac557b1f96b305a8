"""JUnit XML of a run, its gate, a bundle's verification: cells, checks, verdicts and claims as CI systems read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from xml.etree import ElementTree

from cnnbench.gates.claims import Verification
from cnnbench.gates.judgement import Judgement
from cnnbench.gates.verdicts import GateResult
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.status import UNPROVEN
from cnnbench.output.tables import BAD
from cnnbench.output.text import printable

Outcome = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True)
class JUnitCase:
    """A test case."""

    suite: str
    name: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0


def run_cases(records: Iterable[Record], unrecorded: Iterable[Cell] = ()) -> list[JUnitCase]:
    """A case for each cell, and for each of its checks.

    A crash, a hang or an error is an error, and so is a planned cell without a record; wrong numbers are a failure;
    what was skipped says why, and so does a cell that leaves a question open.
    """
    cases = []
    for record in records:
        reason = record.reason or record.inconclusive or ""
        cases.append(JUnitCase(record.cell.id, "cell", _outcome(record), reason, _seconds(record)))
        for check in record.checks:
            outcome: Outcome = {"passed": "passed", "failed": "failure", "skipped": "skipped"}[check.status]  # type: ignore[assignment]
            place = f" at {check.node}" if check.node and check.status == "failed" else ""
            cases.append(JUnitCase(record.cell.id, check.name, outcome, f"{check.message}{place}"))
    for cell in unrecorded:
        outcome = "error" if cell.skip is None else "skipped"
        cases.append(JUnitCase(cell.id, "cell", outcome, cell.skip or "the run has no record of it"))
    return cases


def _outcome(record: Record) -> Outcome:
    if record.status == "skipped" or record.exit_code == UNPROVEN:
        return "skipped"
    if record.exit_code == 4:
        return "failure"
    return "error" if record.status in BAD or record.status == "interrupted" else "passed"


def gate_cases(result: GateResult) -> list[JUnitCase]:
    """A case for each verdict: a regression fails; an inconclusive or not comparable one is skipped with its reason."""
    outcomes: dict[Judgement, Outcome] = {
        "regressed": "failure",
        "inconclusive": "skipped",
        "not comparable": "skipped",
        "unchanged": "passed",
        "improved": "passed",
    }
    cases = []
    for verdict in (*result.series, *result.verdicts):
        change = (
            f" {verdict.change.value:.4g} [{verdict.change.low:.4g}, {verdict.change.high:.4g}]"
            if verdict.change
            else ""
        )
        message = f"{verdict.verdict}:{change} {verdict.reason}".rstrip()
        cases.append(JUnitCase(verdict.subject, verdict.metric, outcomes[verdict.verdict], message))
    return cases


def claim_cases(found: Verification) -> list[JUnitCase]:
    """A case for each graded claim of a bundle: what is not reproduced fails, what cannot be compared is skipped.

    A claim on a cell whose worker failed is an error.
    """
    cases = []
    for claim in found.claims:
        outcome: Outcome = "passed"
        if claim.grade == "not comparable":
            outcome = "skipped"
        elif claim.grade == "not reproduced":
            outcome = "error" if claim.failed else "failure"
        figures = f"{claim.bundled or '-'} in the bundle, {claim.again or '-'} here"
        cases.append(
            JUnitCase(claim.subject, claim.claim, outcome, f"{claim.grade}: {figures}. {claim.reason}".rstrip())
        )
    return cases


def render_junit(name: str, cases: Iterable[JUnitCase]) -> str:
    """The XML document: one ``testsuite`` a cell."""
    root = ElementTree.Element("testsuites", name=printable(name))
    groups: dict[str, list[JUnitCase]] = {}
    for case in cases:
        groups.setdefault(case.suite, []).append(case)
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite, members in groups.items():
        counts = {
            "tests": len(members),
            "failures": sum(case.outcome == "failure" for case in members),
            "errors": sum(case.outcome == "error" for case in members),
            "skipped": sum(case.outcome == "skipped" for case in members),
        }
        totals = {key: totals[key] + counts[key] for key in totals}
        node = ElementTree.SubElement(root, "testsuite", name=printable(suite))
        for key, count in counts.items():
            node.set(key, str(count))
        node.set("time", f"{sum(case.seconds for case in members):.3f}")
        for case in members:
            _append(node, case)
    for key, value in totals.items():
        root.set(key, str(value))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _append(parent: ElementTree.Element, case: JUnitCase) -> None:
    attributes = {"classname": printable(case.suite), "name": printable(case.name), "time": f"{case.seconds:.3f}"}
    node = ElementTree.SubElement(parent, "testcase", attributes)
    if case.outcome != "passed":
        text = printable(case.message)
        child = ElementTree.SubElement(node, case.outcome, message=text.partition("\n")[0])
        if case.outcome != "skipped":
            child.text = text


def _seconds(record: Record) -> float:
    try:
        start, end = (datetime.fromisoformat(text) for text in (record.started_utc, record.finished_utc))
    except ValueError:
        return 0.0
    return max(0.0, (end - start).total_seconds())
