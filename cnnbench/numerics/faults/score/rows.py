"""The file of a score: a line of JSON for each fault and each clean run, with the digest of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError
from cnnbench.execution import sources
from cnnbench.measurement.environment import package_versions
from cnnbench.numerics.answering_code import code_digest
from cnnbench.numerics.cache import key_of
from cnnbench.numerics.faults.score.running import CleanRow, FaultRow, Scoring


@dataclass(frozen=True)
class MadeFrom:
    """What rows were made from.

    Args:
        backend, mode, precision: Of the programs.
        versions: Of the packages that compute, by name.
        code: The digest of the reference's and the checks' sources.
        own: The digest of the backend's sources.
    """

    backend: str
    mode: str
    precision: str
    versions: tuple[tuple[str, str], ...]
    code: str
    own: str

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return key_of(**asdict(self))


def made_from(asked: Scoring) -> MadeFrom:
    """What the rows of this backend, in this mode and precision, with this code, are made from."""
    own = sources.digest({sources.module_of(asked.backend)})
    return MadeFrom(
        backend=asked.backend.name,
        mode=asked.options.mode,
        precision=asked.options.precision.name,
        versions=tuple(sorted(package_versions().items())),
        code=code_digest(),
        own=own,
    )


def _row(item: dict[str, Any]) -> FaultRow | CleanRow:
    return CleanRow(**item | {"alarms": tuple(item["alarms"])}) if "alarms" in item else FaultRow(**item)


@dataclass(frozen=True)
class ScoreFile:
    """Rows on disk, appended one at a time: a run that was stopped goes on where it was.

    Args:
        path: JSON lines.
        digest: Of what the rows of this run are made from; others are left aside.
    """

    path: Path
    digest: str

    def rows(self) -> tuple[list[FaultRow], list[CleanRow]]:
        """The faults and the clean runs that were made from the same.

        Raises:
            DataError: A line that is no row.
        """
        faults, clean = {}, {}
        for number, item in self._lines():
            try:
                digest = item.pop("made_from")
                row = _row(item)
            except (KeyError, TypeError, AttributeError):
                raise DataError("the line is no row of a score", where=f"{self.path}, line {number}") from None
            if digest != self.digest:
                continue
            if isinstance(row, CleanRow):
                clean[row.id] = row
            else:
                faults[row.id] = row
        return list(faults.values()), list(clean.values())

    def _lines(self) -> Iterator[tuple[int, Any]]:
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                yield number, json.loads(line)
            except ValueError:
                if number < len(lines):  # the last line may have been cut off
                    raise DataError("the line is no JSON", where=f"{self.path}, line {number}") from None

    def append(self, row: FaultRow | CleanRow) -> None:
        """Adds a row."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = self.path.read_bytes()[-1:] if self.path.exists() and self.path.stat().st_size else b"\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("" if text == b"\n" else "\n") + json.dumps({**asdict(row), "made_from": self.digest}) + "\n")
