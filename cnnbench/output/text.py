"""Renders table values for terminals (rich or plain) and for Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cnnbench.output.table import Column, ReportTable, Tone

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_STYLES: dict[Tone, str] = {"": "", "good": "green", "bad": "bold red", "warn": "yellow", "muted": "dim"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


def to_rich(table: ReportTable) -> RichTable:
    """For a terminal that shows colours. Names are text, never markup."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=table.title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for column in table.columns:
        shown.add_column(Text(column.name), justify=column.align, overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(printable(entry.text), style=_STYLES[entry.tone]) for entry in row))
    return shown


def to_plain(table: ReportTable) -> str:
    """Aligned columns with two spaces between them, for logs; nothing is cut."""
    cells = [[column.name for column in table.columns]]
    cells += [[printable(entry.text).replace("\n", " ") for entry in row] for row in table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    lines = ["  ".join(map(_fit, row, widths, table.columns)) for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _fit(text: str, width: int, column: Column) -> str:
    return text.rjust(width) if column.align == "right" else text.ljust(width)


def to_markdown(table: ReportTable) -> str:
    """A GitHub-flavoured table; whatever stands in the entries stays text."""
    lines = ["| " + " | ".join(escape_markdown(column.name) for column in table.columns) + " |"]
    lines.append("|" + "|".join(" ---: " if column.align == "right" else " --- " for column in table.columns) + "|")
    for row in table.rows:
        texts = (escape_markdown(entry.text) for entry in row)
        marked = (
            f"**{text}**" if entry.tone == "bad" and text else text for entry, text in zip(row, texts, strict=True)
        )
        lines.append("| " + " | ".join(marked) + " |")
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: no markup, HTML, link or new column comes from it."""
    escaped = re.sub(r"([\\`*|~])", r"\\\1", printable(text))
    escaped = re.sub(r"\](?=[(\[:])", r"\\]", escaped)  # what would make a link of brackets
    escaped = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)  # within a word an underscore is no markup
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("\n", "<br>")


def printable(text: str) -> str:
    """Without control characters, which could drive a terminal; newlines and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
