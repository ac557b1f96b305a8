"""``cnnbench claims``: statements about convolutional networks, tried, with their figures and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.claims.claim import ClaimFinding

UNDECIDED = 5


@grouped
def claims(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="CLAIM...", help="Only these; all unless given.", show_default=False)
    ] = None,
    backend: Annotated[str, typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Who computes.")] = "numpy",
    seeds: Annotated[int, typer.Option("--seeds", help="Repetitions of what is random.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out those that train networks.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Keeps results here, with a page and charts."),
    ] = None,
    *,
    shown: o.ShownQuietly,
) -> None:
    """Try statements about convolutional networks: what was measured, where it should lie, and the verdict."""
    from cnnbench.face.claiming import examine_claims
    from cnnbench.harness.run.files import check_folder_writable

    if output is not None:
        check_folder_writable(output, "--output")

    def progress(finding: ClaimFinding) -> None:
        if not shown.json and not shown.quiet:
            _print(finding)

    found = examine_claims(names or (), backend, seeds, quick=quick, folder=output, on_finding=progress)
    if shown.json:
        print_json(found.to_json())
    else:
        print_table(
            ["claim", "verdict", ""],
            [
                [
                    f"{item.claim.number} {item.claim.name}",
                    item.verdict,
                    "kept" if item.claim.name in found.kept else "",
                ]
                for item in found.findings
            ],
        )
        for note in found.notes:
            echo(f"note: {note}", err=True)
    if not found.findings or any(item.verdict == "undecided" for item in found.findings):
        raise typer.Exit(UNDECIDED)


def _print(found: ClaimFinding) -> None:
    from cnnbench.output.claims_page import figures_table

    claim, table = found.claim, figures_table(found.evidence)
    echo(f"{claim.number}. {claim.statement}")
    print_table([column.name for column in table.columns], [[entry.text for entry in row] for row in table.rows])
    if found.lack is not None:
        echo(f"the experiment failed: {found.lack}")
    echo("".join(f"if {condition}\n" for condition in claim.conditions) + f"{found.verdict} ({claim.source})\n")
