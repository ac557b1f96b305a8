"""Writes what a gate or a verification found: beside the run's records, into the job's summary, as JUnit XML."""

from __future__ import annotations

from pathlib import Path

from cnnbench.gates.claims import Verification
from cnnbench.gates.verdicts import GateResult
from cnnbench.harness.run.files import to_json, write_atomically
from cnnbench.harness.run.store import VERDICTS, RunStore
from cnnbench.output.github_summary import append_summary
from cnnbench.output.junit import claim_cases, gate_cases, render_junit
from cnnbench.output.markdown import gate_markdown, verification_markdown
from cnnbench.output.reports import write_reports


def write_verdicts(folder: Path, result: GateResult, junit: Path | None = None) -> None:
    """Writes ``gate.json`` and the run's reports with the verdicts, and adds them to the job's summary.

    Args:
        folder: The run's.
        result: The verdicts.
        junit: Where JUnit XML goes; None for nowhere.
    """
    write_atomically(folder / VERDICTS, to_json({"records": RunStore(folder).digest, **result.model_dump(mode="json")}))
    write_reports(folder, result)
    append_summary(gate_markdown(result))
    if junit is not None:
        write_atomically(junit, render_junit(f"{result.suite} gate", gate_cases(result)))


def write_grades(folder: Path, found: Verification, junit: Path | None = None) -> None:
    """Writes ``verification.json`` and ``verification.md``, and adds them to the job's summary.

    Args:
        folder: Of the second run.
        found: The graded claims.
        junit: Where JUnit XML goes; None for nowhere.
    """
    write_atomically(folder / "verification.json", to_json(found))
    text = verification_markdown(found)
    write_atomically(folder / "verification.md", text)
    append_summary(text)
    if junit is not None:
        write_atomically(junit, render_junit(f"{found.suite} verification", claim_cases(found)))
