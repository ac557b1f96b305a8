"""``cnnbench run``: suites from the first check to the reports."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, show_notes, show_results, show_table

if TYPE_CHECKING:
    from cnnbench.harness.run.runner import RunResult


@grouped
def run(
    suites: o.Suites = None,
    *,
    chosen: o.Selection,
    start: o.Start,
    where: o.Destination,
    shown: o.ShownQuietly,
) -> None:
    """Run suites: check, train, time and weigh every cell, and report."""
    from cnnbench.cli.plan import print_plans
    from cnnbench.cli.progress import progress
    from cnnbench.errors import SuiteError
    from cnnbench.face.running import run as run_suite
    from cnnbench.face.running import work_of
    from cnnbench.harness.run.exit_codes import worst
    from cnnbench.harness.run.runner import RunInterrupted

    if start.resume is not None and len(suites or ()) > 1:
        raise SuiteError("one run can be resumed at a time", where="--resume")
    given: list[Path | None] = [*suites] if suites else [None]
    work = [work_of(suite, start.resume, where.output, chosen.keywords) for suite in given]  # all, before any is run
    if start.dry_run:
        print_plans([plan for plan, _ in work], json=shown.json)
        return
    where.check()
    results = []
    for plan, folder in work:
        with progress(quiet=shown.quiet, verbose=shown.verbose) as listen:
            try:
                results.append(run_suite(plan, resume=folder, **where.keywords(listen)))
            except RunInterrupted as stop:
                results.append(stop.result)
        if not shown.json:
            _show(results[-1])
        if results[-1].summary.interrupted:
            break  # one signal ends the command, whatever suites are left
    if where.junit is not None:
        _write_junit(results, where.junit)
    if shown.json:
        print_json({"runs": [_as_json(result) for result in results]})
    raise typer.Exit(worst(result.exit_code for result in results))


def _show(result: RunResult) -> None:
    """The result table, what went wrong, and where to look: the last lines of a run."""
    from cnnbench.output.reports import read_report

    report = read_report(result.folder)
    show_results(report)
    for table in (report.problems, report.skips):
        if table:
            echo("")
            show_table(table)
    echo("")
    show_notes(report.notes, result.folder)
    for label, link in result.summary.links.items():
        echo(f"{label + ':':<8} {link}")
        if label == "mlflow" and "//127.0.0.1:" in link:
            echo(f"         (served by: {_program()} ui)")


def _program() -> str:
    """What starts this program in the user's shell: `make run` installs into a folder that is on no path."""
    called = Path(sys.argv[0])
    return "cnnbench" if shutil.which("cnnbench") or called.name != "cnnbench" else str(called)


def _as_json(result: RunResult) -> dict[str, Any]:
    return {
        "folder": str(result.folder),
        "report": str(result.folder / "report.html"),
        "summary": result.summary.model_dump(mode="json"),
    }


def _write_junit(results: list[RunResult], path: Path) -> None:
    from cnnbench.gates.evidence import read_evidence
    from cnnbench.harness.run.files import write_atomically
    from cnnbench.output.junit import render_junit, run_cases

    runs = [read_evidence(result.folder) for result in results]
    cases = [case for run in runs for case in run_cases(run.records, run.unrecorded)]
    write_atomically(path, render_junit("cnnbench", cases))
