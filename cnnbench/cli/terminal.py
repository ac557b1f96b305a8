"""What commands print: lines, tables and JSON."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.cli.streams import results

if TYPE_CHECKING:
    from pathlib import Path

    from cnnbench.output.report import RunReport
    from cnnbench.output.table import ReportTable

WIDTH = 80  # of a terminal that does not tell


def echo(text: object = "", *, err: bool = False) -> None:
    """A line of the command's result; of its progress and notes where ``err``."""
    (sys.stderr if err else results()).write(f"{text}\n")


def print_json(value: Any) -> None:
    """One JSON document on stdout, in any encoding."""
    unicode = results().encoding.lower().startswith("utf")
    echo(json.dumps(value, indent=2, ensure_ascii=not unicode, allow_nan=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows of values: numbers right-aligned with thousands separated, None as a dash."""
    from cnnbench.output.table import Column, Entry, ReportTable

    right = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(headers))]
    columns = tuple(Column(name, "right" if r else "left") for name, r in zip(headers, right, strict=True))
    show_table(ReportTable("", columns, tuple(tuple(Entry(_text(value)) for value in row) for row in rows)))


def show_table(table: ReportTable) -> None:
    """A table as wide as the terminal allows, with colours there; as wide as it needs elsewhere."""
    from cnnbench.output.text import to_text

    echo(to_text(table, _width(), colours=_shows_colours()).removesuffix("\n"))


def show_lines(lines: Sequence[str]) -> None:
    """Lines wrapped at the terminal's width, what is wrapped being indented; whole where nothing limits a line."""
    width = _width()
    for line in lines:
        for part in [line] if width is None else textwrap.wrap(line, width, subsequent_indent="  ") or [""]:
            echo(part)


def show_results(report: RunReport) -> None:
    """Reasons to doubt the latencies, the table of results, and how wide its intervals are."""
    for sentence in report.cautions:
        echo(f"caution: {sentence}")
    show_table(report.results)
    if report.precision:
        echo(report.precision)


def show_notes(notes: Sequence[str], folder: Path) -> None:
    """What a reader of a run should know, and where its report and its records lie."""
    for note in notes:
        echo(f"note: {note}")
    echo(f"report:  {(folder / 'report.html').resolve().as_uri()}")
    echo(f"records: {folder}")


def _width() -> int | None:
    """The columns of the terminal; None where nothing limits a line.

    ``COLUMNS`` is not read: a parent that loads readline, as Python's own tools do, hands its value down to pipes.
    """
    if not results().isatty():
        return None
    try:
        return os.get_terminal_size(results().fileno()).columns or WIDTH
    except OSError:
        return WIDTH


def _shows_colours() -> bool:
    return results().isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
