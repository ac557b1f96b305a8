"""``cnnbench gate``, ``compare`` and ``baseline``: a run against another, or against what was committed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table, show_table
from cnnbench.cli.verdicts import show_verdicts

baseline_application = typer.Typer(
    help="Keep what later runs are gated against.", no_args_is_help=True, rich_markup_mode=None
)

Folder = Annotated[Path | None, typer.Option("--baselines", metavar="DIR", help="Default: reports/baselines.")]


@grouped
def gate(
    run: o.FoundRun,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: reports/baselines/<suite>.json.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="RUN", help="Judge against this run and not a baseline.")] = None,
    junit: o.Junit = None,
    *,
    shown: o.Shown,
) -> None:
    """Judge a run by the gates of its suite; ends with 1 where something regressed.

    An A/B run is judged by its own base side, unless a baseline or a run is named.
    """
    from cnnbench.face.judging import gate as judge
    from cnnbench.harness.run.exit_codes import worst
    from cnnbench.harness.run.files import check_folder_writable, check_writable
    from cnnbench.harness.run.lookup import summary_of
    from cnnbench.output.verdict_files import write_verdicts

    folder = run.folder
    check_folder_writable(folder)
    if junit is not None:
        check_writable(junit, "--junit")
    result = judge(folder, baseline, base=base, root=run.runs)
    write_verdicts(folder, result, junit)
    if shown.json:
        print_json({"folder": str(folder), "exit_code": result.exit_code, **result.model_dump(mode="json")})
    else:
        show_verdicts(result)
    summary = summary_of(folder)
    raise typer.Exit(worst([result.exit_code, summary.exit_code if summary else 0]))


@grouped
def compare(
    run: o.Run,
    other: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Compared with the first.")] = None,
    runs: o.Root = o.RUNS,
    *,
    shown: o.Shown,
) -> None:
    """Show the cells of one run against the fastest of each group, or judge a second run against the first.

    Two runs end with the exit code of ``gate``, by the gates of the second's suite.
    """
    from cnnbench.face.judging import compare as compared
    from cnnbench.output.report import relative_table
    from cnnbench.output.verdict_tables import differences_table

    if other is None:
        ratios = compared(run, root=runs)
        if shown.json:
            print_json({"ratios": [ratio.model_dump(mode="json") for ratio in ratios]})
        else:
            show_table(relative_table(ratios))
        return
    comparison = compared(run, other, root=runs)
    if shown.json:
        print_json(comparison.model_dump(mode="json"))
    else:
        differences = differences_table(comparison.differences)
        if differences:
            show_table(differences)
            echo("")
        show_verdicts(comparison.result)
    raise typer.Exit(comparison.result.exit_code)


@baseline_application.command("set")
@grouped
def set_(
    run: o.FoundRun,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: kept in the file.")] = "",
    folder: Folder = None,
    *,
    shown: o.Shown,
) -> None:
    """Make a run the baseline of its suite."""
    from cnnbench.errors import SuiteError
    from cnnbench.face.judging import snapshot_of
    from cnnbench.gates.baselines import baseline_path, save_baseline
    from cnnbench.harness.run.lookup import summary_of

    summary = summary_of(run.folder)
    if summary is None or summary.interrupted:
        raise SuiteError("the run has not come to its end", where=str(run.folder), remedy="--resume it, then set it")
    value = snapshot_of(run.folder, reason=reason)
    path = save_baseline(value, baseline_path(value.suite, folder))
    if shown.json:
        print_json({"file": str(path), "suite": value.suite, "run": value.run_id, "cells": len(value.cells)})
    else:
        echo(f"{path}: the baseline of {value.suite!r} is run {value.run_id} ({len(value.cells)} cells)")


@baseline_application.command("show")
@grouped
def show(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name, or a baseline's file.")],
    folder: Folder = None,
    *,
    shown: o.Shown,
) -> None:
    """Show a suite's baseline."""
    from cnnbench.gates.baselines import baseline_path, load_baseline
    from cnnbench.output import figures

    value = load_baseline(Path(suite) if suite.endswith(".json") else baseline_path(suite, folder))
    if shown.json:
        print_json(value.model_dump(mode="json"))
        return
    rows = [
        (
            item.cell.id,
            item.status,
            figures.seconds(item.median_s.value if item.median_s else None),
            figures.size(item.peak_bytes),
            ", ".join(score.in_words for score in item.scores) or figures.percent(item.test_accuracy),
        )
        for item in value.cells
    ]
    print_table(("cell", "status", "median latency", "peak memory", "test images"), rows)
    echo(f"\nrun {value.run_id} of {value.created_utc}" + (f": {value.reason}" if value.reason else ""))
