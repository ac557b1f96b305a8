"""``cnnbench plan``: what a suite would run, and what it would skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cnnbench.cli import options as o
from cnnbench.cli.asked import SuiteOptions, planned
from cnnbench.cli.terminal import print_json, print_table

if TYPE_CHECKING:
    from cnnbench.harness.suite.plan import Plan


def plan(
    suite: o.SuiteFile,
    backend: o.Backends = [],  # noqa: B006 - typer copies it
    expression: o.Expression = None,
    override: o.Overrides = [],  # noqa: B006
    seed: o.Seed = None,
    threads: o.Threads = None,
    precision: o.Precision = None,
    quick: o.Quick = False,
    shard: o.Shard = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Show the cells of a suite without running anything."""
    asked = SuiteOptions(backend, expression, override, seed, threads, precision, quick, shard=shard)
    result = planned(suite, asked)
    if json:
        print_json(result.model_dump(mode="json"))
    else:
        print_plan(result)


def print_plan(result: Plan) -> None:
    """The cells as a table, and how many run."""
    rows = []
    for cell in result.cells:
        work = [*cell.measure, *(["train"] if cell.train else []), *cell.checks]
        rows.append((cell.id, cell.group, "skipped: " + cell.skip if cell.skip else " ".join(work)))
    print_table(("cell", "group", "work"), rows)
    skipped = len(result.cells) - len(result.runnable)
    groups = len(result.groups())
    typer.echo(
        f"\n{len(result.cells)} cell{'s' if len(result.cells) != 1 else ''} "
        f"in {groups} comparison group{'s' if groups != 1 else ''}"
        + (f", {skipped} of them skipped" if skipped else "")
    )
