"""``cnnbench verify``: the numerical checks of one network in this process, with or without an injected fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, show_table

if TYPE_CHECKING:
    from cnnbench.face.verify_result import VerifiedBackend, VerifyResult


@dataclass(frozen=True)
class Question:
    """What is checked, on which backends."""

    backend: Annotated[
        list[str], typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Default: every one that is here.")
    ] = field(default_factory=list)
    check: Annotated[list[str], typer.Option(help="local, end_to_end, gradient, program ... Default: all.")] = field(
        default_factory=list
    )
    fault: o.Fault = None
    precision: o.Precision = "float32"
    fold_batch_norm: Annotated[bool, typer.Option("--fold-batch-norm", help="Of the end-to-end program.")] = False
    batch: Annotated[int, typer.Option(min=1, help="Images in a check.")] = 2
    threads: o.Threads = None
    thorough: o.Thorough = False


@grouped
def verify(
    network: o.Network,
    asked: Question,
    weights: o.Weights,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where files that reproduce failures go.")
    ] = Path("reports/verify"),
    *,
    shown: o.ShownQuietly,
) -> None:
    """Check a network's numbers on every backend against the float64 reference."""
    from cnnbench.face.verification import verify as verified
    from cnnbench.harness.run.files import check_folder_writable

    def on_backend(series: str) -> None:
        if not shown.quiet and not shown.json:
            echo(f"{series} ...", err=True)

    check_folder_writable(output, "--output")
    result = verified(
        network.architecture,
        backends=asked.backend,
        checks=asked.check,
        precision=asked.precision,
        fault=asked.fault,
        seed=weights.seed,
        weights=weights.weights,
        image=network.shape,
        num_classes=network.num_classes,
        batch=asked.batch,
        fold_batch_norm=asked.fold_batch_norm,
        threads=asked.threads,
        thorough=asked.thorough,
        folder=output,
        on_backend=on_backend,
    )
    if shown.json:
        rows = [_as_json(item) for item in result.backends]
        print_json({"architecture": network.architecture, "fault": asked.fault, "backends": rows})
    else:
        _show(result)
    raise typer.Exit(result.exit_code)


def _as_json(item: VerifiedBackend) -> dict[str, Any]:
    checks = [outcome.model_dump(mode="json", exclude={"nodes"}) for outcome in item.outcomes]
    head = {"backend": item.backend, "mode": item.mode, "status": item.status, "message": item.reason}
    return {**head, "checks": checks}


def _show(result: VerifyResult) -> None:
    show_table(result.table())
    for text in result.problems():
        echo(f"\n{text}")
