"""A claim: a statement, the experiment that tests it, the measured figures, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from cnnbench.claims.laboratory import Laboratory
from cnnbench.errors import SpecError
from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.registry import guarded, offered

Verdict = Literal["holds", "holds with conditions", "does not hold", "undecided"]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class ClaimEvidence:
    """A measured figure, with the bounds that it keeps if the claim's statement is true.

    Args:
        what: What was measured, in words.
        values: One value for each seed; a single value is exact and has no interval.
        least, most: The bounds, both included; None for no bound on that side.

    Raises:
        SpecError: No value, or no bound.
    """

    what: str
    values: tuple[float, ...]
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if not self.values or (self.least is None and self.most is None):
            raise SpecError("evidence needs a value, and a bound that the statement sets", where=self.what)

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return math.fsum(self.values) / len(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """Student's interval of the mean at 95 %; of a single value, that value."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        from scipy.stats import t

        count, mean = len(self.values), self.value
        variance = math.fsum((value - mean) ** 2 for value in self.values) / (count - 1)
        half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * math.sqrt(variance / count)
        return mean - half, mean + half

    @property
    def supports(self) -> bool | None:
        """Whether the whole interval is within the bounds; None where only a part of it is, or a value is NaN."""
        low, high = self.interval
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        least = -math.inf if self.least is None else self.least
        most = math.inf if self.most is None else self.most
        if least <= low and high <= most:
            return True
        return False if high < least or low > most else None


@dataclass(frozen=True)
class ClaimFinding:
    """The figures of a claim's experiment, from which the verdict follows.

    Args:
        claim: The claim.
        evidence: The figures.
        seconds: Duration of the experiment.
        lack: Why there are no figures; None where there are.
    """

    claim: NetworkClaim
    evidence: tuple[ClaimEvidence, ...]
    seconds: float = 0.0
    lack: str | None = None

    @property
    def verdict(self) -> Verdict:
        """``does not hold`` where a figure contradicts the statement, ``undecided`` where one does neither."""
        found = [item.supports for item in self.evidence]
        if False in found:
            return "does not hold"
        if None in found or not found:
            return "undecided"
        return "holds with conditions" if self.claim.conditions else "holds"


Experiment = Callable[[Laboratory], Iterable[ClaimEvidence]]


@dataclass(frozen=True)
class NetworkClaim:
    """A statement that an experiment tries.

    Args:
        name: What the command line calls it.
        number: In the notes' order; those of plugins follow.
        statement: In one sentence.
        source: Where it is made.
        experiment: (laboratory) -> the figures, from its backend and its seeds alone.
        conditions: What the statement leaves unsaid and needs; () for none.
        trains: Whether the experiment trains networks, which takes minutes.
    """

    name: str
    number: int
    statement: str
    source: str
    experiment: Experiment
    conditions: tuple[str, ...] = ()
    trains: bool = False

    def examine(self, laboratory: Laboratory, clock: Clock = MACHINE) -> ClaimFinding:
        """Runs the experiment; one that raises, as where a backend lacks what it needs, leaves the claim undecided."""
        start = clock.now()
        reasons: list[str] = []
        evidence: tuple[ClaimEvidence, ...] = ()
        with guarded(reasons.append):
            evidence = tuple(self.experiment(laboratory))
        return ClaimFinding(self, evidence, clock.now() - start, *reasons)


def claims() -> dict[str, NetworkClaim]:
    """Every claim by name, in the order of their numbers; plugins add theirs by ``cnnbench_claims``."""
    found = offered("cnnbench_claims", NetworkClaim)
    return dict(sorted(found.items(), key=lambda item: item[1].number))
