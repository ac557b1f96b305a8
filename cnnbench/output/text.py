"""Renders table values for terminals of any width, for logs and for Markdown."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence

from cnnbench.output.table import Column, Entry, ReportTable, Tone

_STYLES: dict[Tone, str] = {"": "", "good": "\x1b[32m", "bad": "\x1b[1;31m", "warn": "\x1b[33m", "muted": "\x1b[2m"}
_BOLD, _END = "\x1b[1m", "\x1b[0m"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
_GAP = "  "
_NOTHING = ("", "-", "–")
NARROWEST = 24  # the room that a wrapped column needs to be read


def to_text(table: ReportTable, width: int | None = None, *, colours: bool = False) -> str:
    """A table as lines; nothing is cut.

    Where the columns do not fit, those that are empty go, then text is wrapped within its column; and where that does
    not make them fit, each row becomes a heading (its first entry) with ``name: value`` below it.

    Args:
        table: The table; its title is the first line.
        width: Columns of the terminal; None for lines as long as they come, as logs want them.
        colours: Whether tones are shown.
    """
    table = _printable(table)
    if width is not None and sum(_widths(table)) + _gaps(table) > width:
        table = _without_empty_columns(table)
    widths = _widths(table) if width is None else _fitted(table, width)
    if widths is None:
        lines = _blocks(table, width or 0, colours)
    else:
        lines = _grid(table, widths, colours)
    title = [_styled(table.title, _BOLD if colours else "")] if table.title else []
    return "\n".join(line.rstrip() for line in (*title, *lines)) + "\n"


def _printable(table: ReportTable) -> ReportTable:
    rows = tuple(
        tuple(Entry(printable(entry.text).replace("\n", " "), entry.tone, entry.series) for entry in row)
        for row in table.rows
    )
    return ReportTable(table.title, table.columns, rows)


def _without_empty_columns(table: ReportTable) -> ReportTable:
    kept = [i for i in range(len(table.columns)) if i == 0 or any(row[i].text not in _NOTHING for row in table.rows)]
    return ReportTable(
        table.title, tuple(table.columns[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in table.rows)
    )


def _widths(table: ReportTable) -> list[int]:
    return [
        max(displayed(text) for text in (column.name, *(row[i].text for row in table.rows)))
        for i, column in enumerate(table.columns)
    ]


def _gaps(table: ReportTable) -> int:
    return len(_GAP) * (len(table.columns) - 1)


def _fitted(table: ReportTable, width: int) -> list[int] | None:
    """The columns' widths where text is wrapped between words, the widest columns first; None where they do not fit."""
    natural, smallest, room = _widths(table), _smallest_widths(table), width - _gaps(table)
    if sum(smallest) > room:
        return None
    for limit in range(max(natural), 0, -1):
        widths = [max(low, min(limit, wide)) for low, wide in zip(smallest, natural, strict=True)]
        if sum(widths) <= room:
            return widths
    return smallest


def _smallest_widths(table: ReportTable) -> list[int]:
    """Figures stand in one line; text breaks between words, prose not below a width that can be read."""
    found = []
    for i, (column, wide) in enumerate(zip(table.columns, _widths(table), strict=True)):
        texts = [column.name, *(row[i].text for row in table.rows)]
        longest = max((displayed(word) for text in texts for word in text.split()), default=0)
        least = NARROWEST if column.prose or wide > 2 * NARROWEST else 0
        found.append(wide if column.align == "right" else min(wide, max(longest, least)))
    return found


def _grid(table: ReportTable, widths: Sequence[int], colours: bool) -> list[str]:
    head = tuple(Entry(column.name) for column in table.columns)
    lines = []
    for row in (head, *table.rows):
        cells = [folded(entry.text, w) for entry, w in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = []
            for entry, cell, w, column in zip(row, cells, widths, table.columns, strict=True):
                text = _fit(cell[number] if number < len(cell) else "", w, column)
                parts.append(_styled(text, _STYLES[entry.tone] if colours else ""))
            lines.append(_GAP.join(parts))
        if row is head:
            lines.append(_GAP.join("-" * w for w in widths))
    return lines


def _blocks(table: ReportTable, width: int, colours: bool) -> list[str]:
    lines = []
    for row in table.rows:
        lines += [_styled(line, _BOLD if colours else "") for line in folded(row[0].text, width)]
        lines += _fields(table.columns[1:], row[1:], width, colours)
    return lines


def _fields(columns: Sequence[Column], row: Sequence[Entry], width: int, colours: bool) -> list[str]:
    """``name: value`` of a row, as many in a line as fit; prose stands by itself, below."""
    lines, line, used = [], "", 0
    ordered = sorted(zip(columns, row, strict=True), key=lambda item: item[0].prose)
    for column, entry in ordered:
        if entry.text in _NOTHING:
            continue
        text = f"{column.name}: {entry.text}" if column.name else entry.text
        style = _STYLES[entry.tone] if colours else ""
        size = displayed(text)
        if used and (column.prose or used + 3 + size > width):
            lines.append(line)
            line, used = "", 0
        if not used and 2 + size > width:
            lines += [f"  {_styled(part, style)}" for part in folded(text, width - 2)]
            continue
        shown = f"{column.name}: {_styled(entry.text, style)}" if column.name else _styled(entry.text, style)
        line, used = (f"{line}   {shown}", used + 3 + size) if used else (f"  {shown}", 2 + size)
    return [*lines, line] if used else lines


def _styled(text: str, style: str) -> str:
    return f"{style}{text}{_END}" if style and text.strip() else text


def _fit(text: str, width: int, column: Column) -> str:
    space = " " * (width - displayed(text))
    return space + text if column.align == "right" else text + space


def displayed(text: str) -> int:
    """The columns that a text takes on a terminal: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def folded(text: str, width: int) -> list[str]:
    """A text in lines of at most ``width`` columns, at spaces where there are any."""
    if displayed(text) <= width:
        return [text]
    if all(displayed(letter) == 1 for letter in text):  # not by the sum: a wide letter makes up for a combining one
        return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    lines = [""]
    for letter in text:
        if displayed(lines[-1] + letter) > width:
            lines.append("")
        lines[-1] += letter
    return lines


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
