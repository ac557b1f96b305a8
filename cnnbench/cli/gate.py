"""``cnnbench gate``, ``compare`` and ``baseline``: a run against another, or against what was committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.runs import RUNS, Root, Run, find_run, summary_of
from cnnbench.cli.terminal import print_json, show_table

if TYPE_CHECKING:
    from cnnbench.gates.baselines import Snapshot
    from cnnbench.gates.verdicts import GateResult

baseline_application = typer.Typer(
    help="Keep what later runs are gated against.", no_args_is_help=True, rich_markup_mode=None
)

Folder = Annotated[Path | None, typer.Option("--baselines", metavar="DIR", help="Default: reports/baselines.")]


def gate(
    run: Run = "latest",
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: reports/baselines/<suite>.json.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="RUN", help="Judge against this run and not a baseline.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML here.")] = None,
    runs: Root = RUNS,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Judge a run by the gates of its suite; ends with 1 where something regressed.

    An A/B run is judged by its own base side, unless a baseline or a run is named.
    """
    from cnnbench.gates.baselines import load_baseline, snapshot
    from cnnbench.gates.evidence import read_evidence
    from cnnbench.gates.rules import Rules
    from cnnbench.gates.verdicts import gate as judge
    from cnnbench.gates.verdicts import gate_sides
    from cnnbench.harness.run.exit_codes import worst
    from cnnbench.harness.run.store import RunStore, to_json, write_atomically

    folder = find_run(run, runs)
    found = snapshot(read_evidence(folder))
    rules = Rules.of(RunStore.open(folder).read_plan().suite) if (folder / "plan.json").exists() else Rules()
    if found.two_sided and base is None and baseline is None:
        result = gate_sides(found, rules)
    else:
        reference = _snapshot(base, runs) if base is not None else load_baseline(baseline or _default(found.suite))
        result = judge(found.side("head"), reference, rules)
    write_atomically(folder / "gate.json", to_json(result))
    write_verdicts(folder, result, junit)
    if json:
        print_json({"folder": str(folder), "exit_code": result.exit_code, **result.model_dump(mode="json")})
    else:
        show_verdicts(result)
    summary = summary_of(folder)
    raise typer.Exit(worst([result.exit_code, summary.exit_code if summary else 0]))


def _default(suite: str, folder: Path | None = None) -> Path:
    from cnnbench.gates.baselines import baseline_path

    return baseline_path(suite, folder)


def _snapshot(run: str, root: Path) -> Snapshot:
    from cnnbench.gates.baselines import snapshot
    from cnnbench.gates.evidence import read_evidence

    return snapshot(read_evidence(find_run(run, root))).side("head")


def write_verdicts(folder: Path, result: GateResult, junit: Path | None) -> None:
    """The verdicts in the run's reports, in the job's summary, and in a JUnit file where one is wanted."""
    from cnnbench.harness.run.store import write_atomically
    from cnnbench.output.github_summary import append_summary
    from cnnbench.output.junit import gate_cases, render_junit
    from cnnbench.output.markdown import gate_markdown
    from cnnbench.output.reports import write_reports

    write_reports(folder, result)
    append_summary(gate_markdown(result))
    if junit is not None:
        write_atomically(junit, render_junit(f"{result.suite} gate", gate_cases(result)))


def show_verdicts(result: GateResult) -> None:
    """The verdicts on the terminal: cells, backends together, notes, and the gate in one sentence."""
    from cnnbench.output.verdict_tables import headline, series_table, verdict_table

    for table in (verdict_table(result), series_table(result)):
        if table:
            show_table(table)
            typer.echo("")
    for note in result.notes:
        typer.echo(f"note: {note}")
    typer.echo(headline(result))


def compare(
    run: Run,
    other: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Compared with the first.")] = None,
    runs: Root = RUNS,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Show the cells of one run against the fastest of each group, or a second run against the first."""
    from cnnbench.gates.compare import compare as compare_runs
    from cnnbench.gates.compare import relative
    from cnnbench.gates.evidence import read_evidence
    from cnnbench.output.report import relative_table
    from cnnbench.output.verdict_tables import differences_table

    if other is None:
        ratios = relative(read_evidence(find_run(run, runs)))
        if json:
            print_json({"ratios": [ratio.model_dump(mode="json") for ratio in ratios]})
        else:
            show_table(relative_table(ratios))
        return
    comparison = compare_runs(_snapshot(run, runs), _snapshot(other, runs))
    if json:
        print_json(comparison.model_dump(mode="json"))
        return
    differences = differences_table(comparison.differences)
    if differences:
        show_table(differences)
        typer.echo("")
    show_verdicts(comparison.result)


@baseline_application.command("set")
def set_(
    run: Run = "latest",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: kept in the file.")] = "",
    folder: Folder = None,
    runs: Root = RUNS,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Make a run the baseline of its suite."""
    from cnnbench.gates.baselines import save_baseline, snapshot
    from cnnbench.gates.evidence import read_evidence

    value = snapshot(read_evidence(find_run(run, runs)), reason=reason).side("head")
    path = save_baseline(value, _default(value.suite, folder))
    if json:
        print_json({"file": str(path), "suite": value.suite, "run": value.run_id, "cells": len(value.cells)})
    else:
        typer.echo(f"{path}: the baseline of {value.suite!r} is run {value.run_id} ({len(value.cells)} cells)")


@baseline_application.command("show")
def show(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name, or a baseline's file.")],
    folder: Folder = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Show a suite's baseline."""
    from cnnbench.cli.terminal import print_table
    from cnnbench.gates.baselines import load_baseline

    value = load_baseline(Path(suite) if suite.endswith(".json") else _default(suite, folder))
    if json:
        print_json(value.model_dump(mode="json"))
        return
    rows = [
        (
            item.cell.id,
            item.status,
            f"{item.median_s.value * 1e3:.3g} ms" if item.median_s else None,
            f"{item.peak_bytes / 2**20:.1f} MiB" if item.peak_bytes is not None else None,
            f"{item.test_accuracy:.2%}" if item.test_accuracy is not None else None,
        )
        for item in value.cells
    ]
    print_table(("cell", "status", "median latency", "peak memory", "accuracy"), rows)
    typer.echo(f"\nrun {value.run_id} of {value.created_utc}" + (f": {value.reason}" if value.reason else ""))
