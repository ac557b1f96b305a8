"""What a table is: columns and entries as values, which each form of output draws in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Align = Literal["left", "right"]
Tone = Literal["", "good", "bad", "warn", "muted"]


@dataclass(frozen=True)
class Column:
    """A heading. ``help`` says what the figures are; ``prose``: its entries are sentences."""

    name: str
    align: Align = "right"
    help: str = ""
    prose: bool = False


@dataclass(frozen=True)
class Entry:
    """A table's entry: its text, how it is meant, and the series whose colour it may carry."""

    text: str
    tone: Tone = ""
    series: str = ""


@dataclass(frozen=True)
class ReportTable:
    """Columns and rows of entries."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.rows)
