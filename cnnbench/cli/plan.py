"""``cnnbench plan``: what a suite would run, and what it would skip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.harness.suite.plan import Plan


@grouped
def plan(suite: o.SuiteFile, chosen: o.Selection, shown: o.Shown) -> None:
    """Show the cells of a suite without running anything."""
    from cnnbench.face.running import plan as planned

    result = planned(suite, **chosen.keywords)
    if shown.json:
        print_json(result.model_dump(mode="json"))
    else:
        print_plan(result)


def print_plans(plans: Sequence[Plan], *, json: bool) -> None:
    """What ``--dry-run`` shows."""
    if json:
        print_json({"plans": [plan.model_dump(mode="json") for plan in plans]})
        return
    for plan in plans:
        print_plan(plan)


def print_plan(result: Plan) -> None:
    """The cells as a table, and how many run."""
    rows = []
    for cell in result.cells:
        work = [*cell.measure, *(["train"] if cell.train else []), *cell.checks]
        rows.append((cell.id, cell.group, "skipped: " + cell.skip if cell.skip else " ".join(work)))
    print_table(("cell", "group", "work"), rows)
    skipped = len(result.cells) - len(result.runnable)
    groups = len(result.groups())
    echo(
        f"\n{len(result.cells)} cell{'s' if len(result.cells) != 1 else ''} "
        f"in {groups} comparison group{'s' if groups != 1 else ''}"
        + (f", {skipped} of them skipped" if skipped else "")
    )
    if result.claims:
        echo(f"then {len(result.claims)} claim{'s' if len(result.claims) != 1 else ''}:")
    for claim in result.claims:
        echo(f"  {claim.name} on {claim.backend} {claim.mode}" + (f", skipped: {claim.skip}" if claim.skip else ""))
