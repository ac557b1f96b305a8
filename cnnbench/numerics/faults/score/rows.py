"""The file of a score: a line of JSON for each fault and each clean run, with the digest of what it was made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError
from cnnbench.execution import sources
from cnnbench.measurement.environment import package_versions
from cnnbench.measurement.kept_rows import KeptRows
from cnnbench.numerics.answering_code import code_digest
from cnnbench.numerics.faults.score.running import CleanRow, FaultRow, Scoring
from cnnbench.spec.content import content_digest


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
        return content_digest(asdict(self))


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


class ScoreFile:
    """Rows on disk, appended one at a time: a run that was stopped goes on where it was.

    Args:
        path: JSON lines.
        digest: Of what the rows of this run are made from; others are left aside.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self._kept = KeptRows(path, digest)

    def rows(self) -> tuple[list[FaultRow], list[CleanRow]]:
        """The faults and the clean runs that were made from the same. Raises DataError where a row is none of these."""
        try:
            rows = {row.id: row for row in map(_row, self._kept.read())}.values()
        except (TypeError, KeyError):
            raise DataError("a line is no row of a score", where=str(self._kept.path)) from None
        faults = [row for row in rows if isinstance(row, FaultRow)]
        return faults, [row for row in rows if isinstance(row, CleanRow)]

    def append(self, row: FaultRow | CleanRow) -> None:
        """Adds a row."""
        self._kept.append(asdict(row))
