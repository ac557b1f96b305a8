"""Writes all reports of a run beside its records."""

from __future__ import annotations

from pathlib import Path

from cnnbench.gates.evidence import read_evidence
from cnnbench.gates.verdicts import GateResult
from cnnbench.harness.run.files import write_atomically
from cnnbench.harness.run.hooks import offered_metrics
from cnnbench.harness.run.store import RunStore
from cnnbench.output.example_pictures import draw_examples
from cnnbench.output.html import render_html
from cnnbench.output.junit import gate_cases, render_junit, run_cases
from cnnbench.output.markdown import render_markdown
from cnnbench.output.pictures import pictures_of
from cnnbench.output.report import RunReport, gather
from cnnbench.output.run_claims import write_claim_pages


def write_reports(folder: Path, gate: GateResult | None = None) -> dict[str, Path]:
    """``report.md``, ``report.html`` and ``junit.xml`` of a run, finished or not, by name.

    Args:
        folder: The run's.
        gate: Its verdicts, which then stand in every report.
    """
    report = read_report(folder, gate)
    draw_examples(folder, report.run.records)
    write_claim_pages(folder)
    cases = run_cases(report.run.records, report.run.unrecorded) + (gate_cases(gate) if gate else [])
    contents = {
        "report.md": render_markdown(report),
        "report.html": render_html(report, pictures_of(folder), RunStore(folder).digest),
        "junit.xml": render_junit(report.title, cases),
    }
    for name, text in contents.items():
        write_atomically(folder / name, text)
    return {name: folder / name for name in contents}


def read_report(folder: Path, gate: GateResult | None = None) -> RunReport:
    """What the reports of a run say."""
    return gather(read_evidence(folder), gate, {name: metric.unit for name, metric in offered_metrics().items()})
