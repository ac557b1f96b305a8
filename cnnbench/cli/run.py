"""``cnnbench run``: a suite from its plan to its reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.asked import SuiteOptions, planned
from cnnbench.cli.runs import RUNS, find_run, recorders
from cnnbench.cli.terminal import print_json, show_table, stdout_reserved
from cnnbench.errors import SuiteError

if TYPE_CHECKING:
    from cnnbench.harness.run.runner import RunResult
    from cnnbench.harness.suite.plan import Plan


def run(
    suites: Annotated[list[Path] | None, typer.Argument(metavar="SUITE...", help="Suite files.")] = None,
    backend: o.Backends = [],  # noqa: B006 - typer copies it
    expression: o.Expression = None,
    override: o.Overrides = [],  # noqa: B006
    seed: o.Seed = None,
    threads: o.Threads = None,
    precision: o.Precision = None,
    quick: o.Quick = False,
    timeout: o.Timeout = None,
    shard: o.Shard = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Continue a run as it was planned: its folder, id, or 'latest'.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where runs' folders are made.")] = RUNS,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML here.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="MLflow's store or server.")] = None,
    no_mlflow: Annotated[bool, typer.Option("--no-mlflow", help="Log nothing to MLflow.")] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run suites: check, train, time and weigh every cell, and report."""
    asked = SuiteOptions(backend, expression, override, seed, threads, precision, quick, timeout, shard)
    work = _work(suites or [], asked, resume, output)
    if dry_run:
        _show_plans([plan for plan, _ in work], json=json)
        return
    results = []
    for plan, folder in work:
        with stdout_reserved():
            results.append(_run(plan, folder, _How(output, tracking_uri, not no_mlflow, quiet, verbose)))
        if not json:
            _show(results[-1])
    if junit is not None:
        _write_junit(results, junit)
    if json:
        print_json({"runs": [_as_json(result) for result in results]})
    from cnnbench.harness.run.exit_codes import worst

    raise typer.Exit(worst(result.exit_code for result in results))


@dataclass(frozen=True)
class _How:
    """How the plans are run: the same for all of them."""

    root: Path
    tracking_uri: str | None
    mlflow: bool
    quiet: bool
    verbose: bool


def _work(suites: list[Path], asked: SuiteOptions, resume: str | None, root: Path) -> list[tuple[Plan, Path | None]]:
    """(plan, folder to continue) of each run; all plans are made before anything is run."""
    if resume is not None:
        from cnnbench.harness.run.store import RunStore

        if len(suites) > 1:
            raise SuiteError("one run can be resumed at a time", where="--resume")
        folder = find_run(_latest_of(suites) if resume == "latest" and suites else resume, root)
        store = RunStore.open(folder)
        if suites and not (folder / "plan.json").exists():  # it was killed before it had a plan
            return [(planned(suites[0], asked), folder)]
        return [(store.read_plan(), folder)]
    if not suites:
        raise SuiteError("no suite is given", expected="SUITE..., or --resume RUN", remedy="see 'cnnbench list suites'")
    return [(planned(path, asked), None) for path in suites]


def _latest_of(suites: list[Path]) -> str:
    from cnnbench.harness.suite.file import load_suite

    return load_suite(suites[0]).name


def _show_plans(plans: list[Plan], *, json: bool) -> None:
    from cnnbench.cli.plan import print_plan

    if json:
        print_json({"plans": [plan.model_dump(mode="json") for plan in plans]})
        return
    for plan in plans:
        print_plan(plan)


def _run(plan: Plan, folder: Path | None, how: _How) -> RunResult:
    from cnnbench.cli.progress import progress
    from cnnbench.harness.run.runner import RunOptions
    from cnnbench.harness.run.runner import run as run_plan
    from cnnbench.output.reports import write_reports

    where = recorders(mlflow=how.mlflow, tracking_uri=how.tracking_uri)
    with progress(quiet=how.quiet, verbose=how.verbose) as listen:
        result = run_plan(plan, RunOptions(root=how.root, resume=folder, recorders=where), [listen])
    write_reports(result.folder)
    return result


def _show(result: RunResult) -> None:
    """The result table, what went wrong, and where to look: the last lines of a run."""
    from cnnbench.output.reports import read_report

    report = read_report(result.folder)
    show_table(report.results)
    for table in (report.problems, report.skips):
        if table:
            typer.echo("")
            show_table(table)
    typer.echo("")
    for note in result.summary.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"report:  {(result.folder / 'report.html').resolve().as_uri()}")
    typer.echo(f"records: {result.folder}")
    for label, link in result.summary.links.items():
        typer.echo(f"{label + ':':<8} {link}")
        if label == "mlflow" and "//127.0.0.1:" in link:
            typer.echo("         (served by: cnnbench ui)")


def _as_json(result: RunResult) -> dict[str, Any]:
    return {
        "folder": str(result.folder),
        "report": str(result.folder / "report.html"),
        "summary": result.summary.model_dump(mode="json"),
    }


def _write_junit(results: list[RunResult], path: Path) -> None:
    from cnnbench.harness.run.store import write_atomically
    from cnnbench.output.junit import render_junit, run_cases

    cases = [case for result in results for case in run_cases(result.records)]
    write_atomically(path, render_junit("cnnbench", cases))
