"""``cnnbench ab``: one suite in two environments at once, round by round, and a verdict on every cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.asked import SuiteOptions, planned
from cnnbench.cli.gate import show_verdicts, write_verdicts
from cnnbench.cli.runs import RUNS, find_run, recorders
from cnnbench.cli.terminal import print_json, show_table, stdout_reserved
from cnnbench.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnnbench.gates.compare import Difference
    from cnnbench.harness.run.extensions import Recorder
    from cnnbench.harness.run.runner import RunOptions, RunResult
    from cnnbench.harness.suite.plan import Plan
    from cnnbench.harness.worker.sides import TwoSides


def ab(
    suite: Annotated[Path | None, typer.Argument(metavar="SUITE", help="A suite file.", show_default=False)] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="PYTHON", help="The interpreter to compare with.")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", metavar="PYTHON", help="The interpreter to judge; default: this one.")
    ] = None,
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
        str | None, typer.Option(metavar="RUN", help="Continue an A/B run with the interpreters it began with.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where runs' folders are made.")] = RUNS,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the verdicts as JUnit XML.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="MLflow's store or server.")] = None,
    no_mlflow: Annotated[bool, typer.Option("--no-mlflow", help="Log nothing to MLflow.")] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Compare two environments on one machine at one time; ends with 1 where the head regressed."""
    asked = SuiteOptions(backend, expression, override, seed, threads, precision, quick, timeout, shard)
    with stdout_reserved():
        plan, options = _work(suite, base, head, asked, resume, output)
    if dry_run:
        _show_plan(plan, json=json)
        return
    from cnnbench.cli.progress import progress
    from cnnbench.harness.run.runner import run
    from cnnbench.output.reports import write_reports

    where = recorders(mlflow=not no_mlflow, tracking_uri=tracking_uri)
    with stdout_reserved():
        with progress(quiet=quiet, verbose=verbose) as listen:
            result = run(plan, _with_recorders(options, where), [listen])
        write_reports(result.folder)
    if result.summary.interrupted:
        typer.echo(f"interrupted; continue with: cnnbench ab --resume {result.folder}", err=True)
        raise typer.Exit(result.exit_code)
    raise typer.Exit(_judge(result, junit, json=json))


def _work(
    suite: Path | None, base: str | None, head: str | None, asked: SuiteOptions, resume: str | None, root: Path
) -> tuple[Plan, RunOptions]:
    """The plan with both sides, and how to run it."""
    import sys

    from cnnbench.harness.worker.sides import both, two_sided

    if resume is not None:
        return _continued(find_run(resume, root), root)
    if suite is None or base is None:
        raise SuiteError(
            "there is nothing to compare",
            expected="SUITE --base PYTHON [--head PYTHON], or --resume RUN",
            remedy="give the interpreter of the environment to compare with: VENV/bin/python",
        )
    sides = both(base, head or sys.executable)
    if sides.alike:
        typer.echo(
            "note: the same is installed on both sides; what differs is chance, or the settings around them", err=True
        )
    plan = two_sided(planned(suite, asked, sides.unavailable))
    return plan, _options(plan, sides, root, None)


def _continued(folder: Path, root: Path) -> tuple[Plan, RunOptions]:
    """A run that was interrupted: its interpreters must still be what they were."""
    from cnnbench.harness.run.store import RunStore
    from cnnbench.harness.worker.sides import both, interpreters_of

    store = RunStore.open(folder)
    paths = interpreters_of(store.read_environment())
    if paths.keys() != {"base", "head"}:
        raise SuiteError("this is no A/B run", where=str(folder), remedy="continue it with: cnnbench run --resume RUN")
    sides = both(paths["base"], paths["head"])
    for side, interpreter in sides.items():
        if interpreter.distributions != store.read_lock().get(side):
            raise SuiteError(
                f"what is installed on the {side} side has changed since the run began",
                where=str(folder),
                received=interpreter.path,
                remedy="start the comparison anew",
            )
    plan = store.read_plan()
    return plan, _options(plan, sides, root, folder)


def _options(plan: Plan, sides: TwoSides, root: Path, folder: Path | None) -> RunOptions:
    from cnnbench.harness.run.runner import RunOptions

    return on_both_sides(RunOptions(root=root, resume=folder), plan, sides)


def on_both_sides(options: RunOptions, plan: Plan, sides: TwoSides) -> RunOptions:
    """The options with an interpreter for each side, and the rule by which sampling goes on."""
    from dataclasses import replace

    from cnnbench.gates.rules import Rules
    from cnnbench.gates.sequential import undecided_by
    from cnnbench.harness.worker.sides import Interpreter

    pythons: dict[str, str] = {side: interpreter.path for side, interpreter in sides.items()}
    return replace(
        options,
        pythons=pythons,
        sides=dict[str, Interpreter](sides.items()),
        undecided=undecided_by(Rules.of(plan.suite)),
    )


def _with_recorders(options: RunOptions, where: Mapping[str, Recorder]) -> RunOptions:
    from dataclasses import replace

    return replace(options, recorders=where)


def _show_plan(plan: Plan, *, json: bool) -> None:
    from cnnbench.cli.plan import print_plan

    if json:
        print_json({"plans": [plan.model_dump(mode="json")]})
    else:
        print_plan(plan)


def _judge(result: RunResult, junit: Path | None, *, json: bool) -> int:
    """Writes and shows the verdicts, and says how the command ends."""
    from cnnbench.gates.baselines import snapshot
    from cnnbench.gates.compare import side_differences
    from cnnbench.gates.evidence import read_evidence
    from cnnbench.gates.rules import Rules
    from cnnbench.gates.verdicts import gate_sides
    from cnnbench.harness.run.exit_codes import worst
    from cnnbench.harness.run.store import RunStore, to_json, write_atomically

    folder = result.folder
    store = RunStore.open(folder)
    found = snapshot(read_evidence(folder))
    verdicts = gate_sides(found, Rules.of(store.read_plan().suite))
    write_atomically(folder / "gate.json", to_json(verdicts))
    write_verdicts(folder, verdicts, junit)
    code = worst([verdicts.exit_code, result.exit_code])
    differences = side_differences(found)
    if json:
        print_json(
            {
                "folder": str(folder),
                "report": str(folder / "report.html"),
                "exit_code": code,
                "sides": found.environment.get("sides", {}),
                "differences": [item.model_dump(mode="json") for item in differences],
                **verdicts.model_dump(mode="json"),
                "summary": result.summary.model_dump(mode="json"),
            }
        )
        return code
    _show(result, differences)
    show_verdicts(verdicts)
    return code


def _show(result: RunResult, differences: Sequence[Difference]) -> None:
    """What the sides differ in, and what went wrong; the verdicts come after."""
    from cnnbench.output.reports import read_report
    from cnnbench.output.verdict_tables import differences_table

    report = read_report(result.folder)
    for table in (differences_table(differences), report.results, report.problems, report.skips):
        if table:
            show_table(table)
            typer.echo("")
    for note in result.summary.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"report:  {(result.folder / 'report.html').resolve().as_uri()}")
    typer.echo(f"records: {result.folder}")
