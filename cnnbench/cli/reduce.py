"""``cnnbench reduce``: a network that fails, cut to the smallest one that fails, with a text for the tracker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json


@dataclass(frozen=True)
class WhatFails:
    """What fails, where."""

    backend: Annotated[str, typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="On which it fails.")] = "numpy"
    check: Annotated[str, typer.Option(help="Which check fails: end_to_end, local, exact, gradient ...")] = "end_to_end"
    fault: o.Fault = None
    precision: o.Precision = "float32"
    fold_batch_norm: o.Folding = False
    batch: Annotated[int, typer.Option(min=1, help="Images in the check.")] = 2
    threads: o.Threads = None


@grouped
def reduce(
    network: o.Network,
    asked: WhatFails,
    weights: o.Weights,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the reproducer and the text go.")
    ] = Path("reports/reduced"),
    *,
    shown: o.Shown,
) -> None:
    """Cut a network that fails on a backend to the smallest one that fails, and write a report of it."""
    from cnnbench.face.reducing import reduce as cut_down

    found = cut_down(
        network.architecture,
        asked.backend,
        check=asked.check,
        precision=asked.precision,
        fault=asked.fault,
        fold_batch_norm=asked.fold_batch_norm,
        batch=asked.batch,
        threads=asked.threads,
        seed=weights.seed,
        weights=weights.weights,
        image=network.shape,
        folder=output,
    )
    if shown.json:
        print_json(
            {
                "outcome": found.outcome.model_dump(mode="json", exclude={"nodes"}),
                "finding": None if found.finding is None else found.finding.model_dump(mode="json"),
                "files": [str(path) for path in found.files],
            }
        )
    elif found.finding is None:
        echo(f"nothing to reduce: {found.outcome.name} {found.outcome.status}: {found.outcome.message}")
    else:
        echo(found.report)
        for path in found.files:
            echo(f"wrote {path}")
    raise typer.Exit(found.exit_code)
