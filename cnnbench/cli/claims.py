"""``cnnbench claims``: statements about convolutional networks, tried, with their figures and verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.claims.claim import ClaimEvidence, ClaimFinding

UNDECIDED = 5


@grouped
def claims(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="CLAIM...", help="Only these; all unless given.", show_default=False)
    ] = None,
    backend: Annotated[str, typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Who computes.")] = "numpy",
    seeds: Annotated[int, typer.Option("--seeds", help="Repetitions of what is random.")] = 10,
    *,
    shown: o.ShownQuietly,
) -> None:
    """Try statements about convolutional networks: what was measured, where it should lie, and the verdict."""
    from cnnbench.face.claiming import examine_claims

    def progress(finding: ClaimFinding) -> None:
        if not shown.json and not shown.quiet:
            _print(finding)

    found = examine_claims(names or (), backend, seeds, on_finding=progress)
    if shown.json:
        print_json(found.to_json())
    else:
        print_table(
            ["claim", "verdict"],
            [[str(item.claim.number) + " " + item.claim.name, item.verdict] for item in found.findings],
        )
    if not found.findings or any(item.verdict == "undecided" for item in found.findings):
        raise typer.Exit(UNDECIDED)


def _print(found: ClaimFinding) -> None:
    claim = found.claim
    echo(f"{claim.number}. {claim.statement}")
    print_table(
        ["measured", "value", "should be", "so"],
        [[item.what, _value(item), _bounds(item), _SO[item.supports]] for item in found.evidence],
    )
    echo("".join(f"if {condition}\n" for condition in claim.conditions) + f"{found.verdict} ({claim.source})\n")


_SO = {True: "yes", False: "no", None: "undecided"}


def _value(item: ClaimEvidence) -> str:
    low, high = item.interval
    return f"{item.value:.4g}" if low == high else f"{item.value:.4g} [{low:.4g}, {high:.4g}]"


def _bounds(item: ClaimEvidence) -> str:
    if item.least is not None and item.least == item.most:
        return f"{item.least:.4g}"
    parts = [
        f"{word} {bound:.4g}" for word, bound in (("at least", item.least), ("at most", item.most)) if bound is not None
    ]
    return ", ".join(parts)
