"""Rows of a long measurement on disk, each with the digest of what it was made from: a stopped one goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError
from cnnbench.measurement.installed import computing_digest
from cnnbench.spec.content import content_digest

MADE_FROM = "made_from"


@dataclass(frozen=True)
class KeptRows:
    """A file of JSON lines, to which a line is added for each row.

    Args:
        path: The file, which need not be there.
        made_from: The digest of what the rows of this run are made from; others are left aside.
    """

    path: Path
    made_from: str

    @classmethod
    def of(cls, path: Path, *programs: Path, packages: Sequence[str] = ()) -> KeptRows:
        """The rows that programs make with the code and the packages that are here.

        Args:
            path: The file of the rows.
            programs: The programs' own files.
            packages: Those that take part, beside the ones that backends compute with.
        """
        texts = [program.read_text(encoding="utf-8") for program in programs]
        return cls(path, content_digest([computing_digest(*packages), texts]))

    def read(self) -> list[dict[str, Any]]:
        """The rows that were made from the same. Raises DataError where a line is no row."""
        return [row for digest, row in self.of_all() if digest == self.made_from]

    def latest(self) -> list[dict[str, Any]]:
        """The rows that were made from the same as the last one, as tables take them. Raises DataError."""
        found = list(self.of_all())
        return [row for digest, row in found if digest == found[-1][0]]

    def of_all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(digest of what it was made from, row) of each line. Raises DataError where a line does not say so."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        for number, line in enumerate(text.split("\n")[:-1], 1):  # what follows the last line's end was cut off
            where = f"{self.path}, line {number}"
            try:
                row = dict(json.loads(line))
            except (ValueError, TypeError):
                raise DataError("the line is no row", where=where) from None
            if MADE_FROM not in row:
                raise DataError("the row does not say what it was made from", where=where, remedy="name another file")
            yield row.pop(MADE_FROM), row

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row, in place of one that was cut off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(json.dumps({**row, MADE_FROM: self.made_from}).encode() + b"\n")
