"""``cnnbench merge``: one run of the shards of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, show_notes, show_table


@grouped
def merge(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders or ids of two runs or more.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the new run is made.")] = o.RUNS,
    runs: o.Root = o.RUNS,
    *,
    shown: o.Shown,
) -> None:
    """Make one run of the shards of a suite, with its reports; the shards stay as they are."""
    from cnnbench.harness.run.lookup import find_run
    from cnnbench.harness.run.merge import merge as merged
    from cnnbench.harness.run.store import RunStore
    from cnnbench.output.reports import read_report, write_reports

    folder = merged([find_run(name, runs) for name in run], output)
    write_reports(folder)
    summary = RunStore.open(folder).read_summary()
    if shown.json:
        print_json({"folder": str(folder), "summary": summary.model_dump(mode="json")})
    else:
        report = read_report(folder)
        for table in (report.results, report.problems, report.skips):
            if table:
                show_table(table)
                echo("")
        show_notes(summary.notes, folder)
    raise typer.Exit(summary.exit_code)
