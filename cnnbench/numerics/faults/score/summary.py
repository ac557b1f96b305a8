"""The score: how many faults were killed and located, by class, with confidence intervals, and the false alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnnbench.numerics.faults.score.rows import MadeFrom
from cnnbench.numerics.faults.score.running import CleanRow, FaultRow

CONFIDENCE = 0.95


class Rate(NamedTuple):
    """So many of so many, with the Clopper-Pearson interval at 95 %.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial"
    (1934): the limits are quantiles of beta distributions, B(a / 2; k, n - k + 1) and B(1 - a / 2; k + 1, n - k).
    """

    hits: int
    total: int

    @property
    def share(self) -> float | None:
        """The share; None of nothing."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """The lowest and the highest share that the counts leave open."""
        from scipy.special import betaincinv

        k, n, tail = self.hits, self.total, (1 - CONFIDENCE) / 2
        low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
        high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
        return low, high

    def __str__(self) -> str:
        if not self.total:
            return "–"
        low, high = self.interval
        return f"{100 * self.hits / self.total:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


class ClassScore(NamedTuple):
    """The score of one class of faults, or of all.

    Args:
        name: Of the class.
        drawn: Faults that were put in and ran.
        killed, located, escaped, equivalent: What became of them.
    """

    name: str
    drawn: int
    killed: int
    located: int
    escaped: int
    equivalent: int

    @property
    def killed_rate(self) -> Rate:
        """Of the faults that can be seen."""
        return Rate(self.killed, self.killed + self.escaped)

    @property
    def located_rate(self) -> Rate:
        """Of the killed ones."""
        return Rate(self.located, self.killed)


@dataclass(frozen=True)
class FaultScore:
    """What became of drawn faults and of clean runs.

    Args:
        backend, mode, precision: Of the programs.
        faults: A row a fault. clean: a row a clean run.
        made_from: Versions and code that the rows are of; None where it is not known.
    """

    backend: str
    mode: str
    precision: str
    faults: Sequence[FaultRow]
    clean: Sequence[CleanRow] = ()
    made_from: MadeFrom | None = None

    @property
    def total(self) -> ClassScore:
        """Of all faults."""
        return _class("all", self.faults)

    def by(self, name: str) -> list[ClassScore]:
        """Of each class: ``where``, ``when`` or ``what``."""
        classes = sorted({getattr(row, name) for row in self.faults})
        return [_class(item, [row for row in self.faults if getattr(row, name) == item]) for item in classes]

    @property
    def escapes(self) -> list[FaultRow]:
        """The faults that can be seen and were not."""
        return [row for row in self.faults if row.outcome == "escaped"]

    @property
    def misplaced(self) -> list[FaultRow]:
        """The faults that were killed at another node or at none."""
        return [row for row in self.faults if row.outcome == "killed" and not row.located]

    @property
    def alarms(self) -> list[CleanRow]:
        """The clean runs in which a check failed."""
        return [row for row in self.clean if row.alarms]

    @property
    def alarm_rate(self) -> Rate:
        """Of the clean runs."""
        return Rate(len(self.alarms), len(self.clean))


def _class(name: str, rows: Sequence[FaultRow]) -> ClassScore:
    counts = Counter(row.outcome for row in rows)
    located = sum(row.located for row in rows if row.outcome == "killed")
    drawn = counts["killed"] + counts["escaped"] + counts["equivalent"]
    return ClassScore(name, drawn, counts["killed"], located, counts["escaped"], counts["equivalent"])
