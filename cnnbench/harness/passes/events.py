"""What passes report while they work: frozen values, which the run's state takes in before listeners hear of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnnbench.harness.passes.findings import Failure, Part
from cnnbench.harness.suite.claim_settings import PlannedClaim
from cnnbench.harness.worker.protocol.claims import ClaimReply
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.training.epoch import Epoch


@dataclass(frozen=True)
class WorkBegun:
    """What goes on now, in a few words: ``compile``."""

    cell: str
    what: str


@dataclass(frozen=True)
class UnitsDone:
    """Units of work that are done or no longer needed."""

    units: int = 1


@dataclass(frozen=True)
class PartFound:
    """A pass has found something out of a cell, to be kept under a name."""

    cell: str
    name: str
    part: Part


@dataclass(frozen=True)
class CellFailed:
    """A cell has ended before its end. Args: log: what its worker printed."""

    cell: str
    failure: Failure
    log: str = ""


@dataclass(frozen=True)
class WrongNumbersFound:
    """A check of the cell's program failed; the cell may be timed all the same."""

    cell: str
    failure: Failure


@dataclass(frozen=True)
class CheckFinished:
    """A numerical check of a cell has an outcome."""

    cell: str
    outcome: CheckOutcome


@dataclass(frozen=True)
class RoundFinished:
    """A round of a comparison group is over: the median latency of each of its cells in it."""

    group: str
    launch: int
    round: int
    medians_s: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class EpochFinished:
    """A cell that trains has finished an epoch."""

    cell: str
    epoch: Epoch


@dataclass(frozen=True)
class ClaimTried:
    """An experiment of a claim has come to its figures. Args: versions: of the worker's packages."""

    claim: PlannedClaim
    reply: ClaimReply
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class AnchorChosen:
    """A group is too large for memory: its parts are compared through the cells with this key."""

    group: str
    key: str


@dataclass(frozen=True)
class YardsticksMeasured:
    """What the machine could do at best around a launch, by name."""

    values: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class SamplingEnded:
    """No cell gets another launch."""


@dataclass(frozen=True)
class CellsFinished:
    """A pass has nothing more to say of these cells."""

    cells: tuple[str, ...]


@dataclass(frozen=True)
class TimeSpent:
    """Seconds of a pass by category."""

    seconds: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class NoteAdded:
    """Something that a reader should know: a worker that was started again, a recorder that failed.

    Args:
        text: One sentence.
        once: Whether it is left out where it was said before.
    """

    text: str
    once: bool = False


@dataclass(frozen=True)
class DefectFound:
    """An exception that is no one's fault but cnnbench's, in one line."""

    text: str


PassEvent = (
    WorkBegun
    | UnitsDone
    | PartFound
    | CellFailed
    | WrongNumbersFound
    | CheckFinished
    | RoundFinished
    | EpochFinished
    | ClaimTried
    | AnchorChosen
    | YardsticksMeasured
    | SamplingEnded
    | CellsFinished
    | TimeSpent
    | NoteAdded
    | DefectFound
)
Report = Callable[[PassEvent], None]
"""Takes what a pass reports."""
