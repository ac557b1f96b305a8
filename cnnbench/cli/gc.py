"""``cnnbench gc``: removes what nobody needs any more."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json


@grouped
def gc(
    keep: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Keep only the N newest runs of each suite.")
    ] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Empty the cache of oracles, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and stop.")] = False,
    runs: o.Root = o.RUNS,
    *,
    shown: o.Shown,
) -> None:
    """Remove scratch files of dead processes, runs without a result and, where asked, old runs and cached oracles."""
    from cnnbench.harness.run.housekeeping import leftovers, remove
    from cnnbench.output import figures

    found = leftovers(runs, keep=keep, cache=cache)
    gone = found if dry_run else remove(found)
    total = sum(item.size_bytes for item in gone)
    if shown.json:
        items = [{"path": str(item.path), "why": item.why, "size_bytes": item.size_bytes} for item in gone]
        print_json({"dry_run": dry_run, "removed": items, "size_bytes": total})
        return
    for item in gone:
        echo(f"{figures.size(item.size_bytes):>9}  {item.path}: {item.why}")
    echo(f"{figures.size(total)} in {len(gone)} folders {'could go' if dry_run else 'are gone'}")
