"""What commands print: tables, JSON, and a standard output that frameworks cannot write into."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from cnnbench.output.table import ReportTable


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they need; numbers right-aligned with thousands separated, None as a dash."""
    texts = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *texts, strict=True)]
    right = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(headers))]
    for line in (list(headers), ["-" * width for width in widths], *texts):
        cells = zip(line, widths, right, strict=True)
        typer.echo("  ".join(f"{text:>{w}}" if r else f"{text:<{w}}" for text, w, r in cells).rstrip())


def show_table(table: ReportTable) -> None:
    """A table of results: with colours on a terminal, plain elsewhere."""
    from cnnbench.output.text import to_plain, to_rich

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(to_rich(table))
    else:
        if table.title:
            typer.echo(table.title)
        typer.echo(to_plain(table), nl=False)


def show_notes(notes: Sequence[str], folder: Path) -> None:
    """What a reader of a run should know, and where its report and its records lie."""
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"report:  {(folder / 'report.html').resolve().as_uri()}")
    typer.echo(f"records: {folder}")


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@contextmanager
def stdout_reserved() -> Iterator[None]:
    """Within it, whatever a framework or its native code prints goes to stderr."""
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # a captured stdout without a descriptor
        yield
        return
    kept = os.dup(descriptor)
    os.dup2(sys.stderr.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
