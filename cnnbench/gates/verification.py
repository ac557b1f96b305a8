"""A claim and its grade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.spec.frozen import Frozen

Grade = Literal["bitwise", "within budget", "ratio reproduced", "not reproduced", "not comparable"]


@dataclass(frozen=True)
class Found:
    """A grade with the figures it rests on.

    Args:
        bundled, again: As they are shown. reason: one sentence where the figures do not say it all.
        failed: Whether a worker failed, so that there is nothing to compare with.
    """

    grade: Grade
    bundled: str | None = None
    again: str | None = None
    reason: str = ""
    failed: bool = False


class Claim(Frozen):
    """What a bundled cell claims, graded.

    Args:
        subject: The cell's id. claim: ``outputs``, a check's name, ``training curve``, ``memory``, ``latency``,
            ``head / base``, or ``record`` of a cell that ended badly or has none.
        bundled, again: The figures in the bundle and here. failed: the worker failed here.
    """

    subject: str
    series: str
    claim: str
    grade: Grade
    bundled: str | None = None
    again: str | None = None
    reason: str = ""
    failed: bool = False

    @staticmethod
    def of(record: Record | Cell, claim: str, found: Found) -> Claim:
        """The claim of a record.

        Args:
            record: In the bundle; the cell of one that is not there.
            claim: What is claimed.
            found: Its grade.
        """
        cell = record if isinstance(record, Cell) else record.cell
        return Claim(
            subject=cell.id,
            series=cell.series,
            claim=claim,
            grade=found.grade,
            bundled=found.bundled,
            again=found.again,
            reason=found.reason,
            failed=found.failed,
        )
