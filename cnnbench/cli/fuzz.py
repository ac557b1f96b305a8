"""``cnnbench fuzz``: random networks on every backend, in pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.face.fuzzing import FuzzResult
    from cnnbench.fuzzing.findings import Finding
    from cnnbench.fuzzing.progress import Progress

LEAST_SEEN = 8


@dataclass(frozen=True)
class Piece:
    """What is run, and for how long."""

    backend: Annotated[
        list[str],
        typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Default: every one that is here, in each mode."),
    ] = field(default_factory=list)
    minutes: Annotated[float | None, typer.Option(min=0.0, help="10 where there is no --count.")] = None
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Networks.")] = None
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sequence of networks.")] = 0
    threads: o.Threads = None


@grouped
def fuzz(
    piece: Piece,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Progress, findings and reproducers; a next call goes on."),
    ] = Path("reports/fuzz"),
    *,
    shown: o.ShownQuietly,
) -> None:
    """Run random networks on every backend against the float64 reference."""
    from cnnbench.face.fuzzing import fuzz as fuzzed
    from cnnbench.fuzzing.findings import Finding

    def on_event(event: Progress | Finding) -> None:
        if shown.quiet or shown.json:
            return
        if isinstance(event, Finding):
            echo(f"\n{_heading(event)}\n{event.text()}\n", err=True)
        elif shown.verbose:
            echo(f"{event.number} networks, {len(event.findings)} findings", err=True)

    result = fuzzed(
        piece.backend,
        count=piece.count,
        minutes=piece.minutes,
        seed=piece.seed,
        folder=output,
        threads=piece.threads,
        on_event=on_event,
    )
    if shown.json:
        print_json(_as_json(result))
    else:
        _show(result, output)
    raise typer.Exit(result.exit_code)


def _heading(item: Finding) -> str:
    return f"known defect {item.known}:" if item.known is not None else "found:"


def _as_json(result: FuzzResult) -> dict[str, Any]:
    data = result.progress.model_dump(mode="json")
    known = {"new": [str(item.signature) for item in result.new]}
    return {**data, **known, "networks_now": result.networks, "unseen_kinds": list(result.unseen)}


def _show(result: FuzzResult, output: Path) -> None:
    from cnnbench.fuzzing.coverage import kinds_seen

    progress = result.progress
    found: dict[str, dict[str, int]] = {}
    for item in progress.outcomes:
        found.setdefault(f"{item.series}, {item.check}", {})[item.status] = item.count
    print_table(
        ("backend and check", "passed", "failed", "skipped"),
        [(name, *(row.get(key, 0) for key in ("passed", "failed", "skipped"))) for name, row in found.items()],
    )
    seen = kinds_seen(progress.coverage)
    least = ", ".join(f"{kind} {count}" for kind, count in list(seen.items())[:LEAST_SEEN])
    echo(f"\n{progress.networks} networks in {progress.seconds / 3600:.2f} h, {result.networks} of them now")
    echo(f"{len(seen)} kinds, {len(progress.coverage)} classes of kinds and values seen; least often: {least}")
    if result.unseen:
        echo(f"not seen yet: {', '.join(result.unseen)}")
    for known in progress.findings:
        new = "new" if known in result.new else "known" if known.known is not None else "found before"
        echo(f"{new}: {known.signature} (seen {known.seen} times)")
        if known.file is not None:
            echo(f"  cnnbench replay {output / known.file} -b {known.signature.backend}:{known.signature.mode}")
