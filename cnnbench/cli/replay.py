"""``cnnbench replay``: the one node of a reproducer file, run and judged again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json


@grouped
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What a failed check calls its reproducer.")],
    backend: Annotated[str, typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Who runs it.")] = "numpy",
    fault: o.Fault = None,
    threads: o.Threads = None,
    *,
    shown: o.Shown,
) -> None:
    """Run the one node of a reproducer file again, and judge it as the check did that wrote the file."""
    from cnnbench.face.verification import replay as replayed
    from cnnbench.harness.run.exit_codes import OK, WRONG_NUMBERS

    outcome = replayed(file, backend=backend, fault=fault, threads=threads)
    if shown.json:
        print_json(outcome.model_dump(mode="json", exclude={"nodes"}))
    else:
        echo(f"{outcome.status}: {outcome.message}")
        if report := outcome.details.get("report"):
            echo(report)
    raise typer.Exit(OK if outcome.status == "passed" else WRONG_NUMBERS)
