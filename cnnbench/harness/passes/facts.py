"""What a pass may know of its run: nothing of it changes while the pass works, but what was found so far."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnbench.harness.passes.findings import Parts, Sample
from cnnbench.harness.passes.material import Materials
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.claim_settings import PlannedClaim
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.interface import StartWorker
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.clock import Clock

PROVING = ("end_to_end", "timed", "classes")  # checks that compare a program's outputs with the oracle's
Undecided = Callable[[Sequence[tuple[Cell, Sequence[Sample]]]], frozenset[str]]
"""From the samples that each cell has so far to the keys of the cells on which more are worth taking."""


@dataclass(frozen=True)
class Machine:
    """Where passes work. Args: start_worker: starts a worker there. clock: its time."""

    start_worker: StartWorker = WorkerClient
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True)
class PassFacts:
    """What a pass may know.

    Args:
        suite: What is asked.
        materials: Files of weights and inputs.
        found: What is kept of a cell so far. folder: where files that reproduce its failures go.
        ended: Ids of the cells that have a record or have failed.
        machine: Where the pass works.
        pythons: The interpreter of each side; the one that runs this for a side that is not named.
        anchors: By comparison group that is too large for memory, the key of the cells in each of its parts.
        time_wrong_numbers: Whether cells are timed even where a check failed.
        proven: Keys of the programs whose outputs a check compares with the oracle's.
        claims: Those that are still to be tried.
        undecided: Where the suite samples sequentially, says after each launch which cells go on.
    """

    suite: Suite
    materials: Materials
    found: Callable[[Cell], Parts]
    folder: Callable[[Cell], Path]
    ended: frozenset[str] = frozenset()
    machine: Machine = field(default_factory=Machine)
    pythons: Mapping[str, str] = field(default_factory=dict)
    anchors: Mapping[str, str] = field(default_factory=dict)
    time_wrong_numbers: bool = False
    proven: frozenset[Key] = frozenset()
    claims: tuple[PlannedClaim, ...] = ()
    undecided: Undecided | None = None

    def is_open(self, cell: Cell) -> bool:
        """Whether there was still something to find out about a cell when the pass began."""
        return cell.skip is None and cell.id not in self.ended

    def spec(self, cell: Cell, *, exact_memory: bool = False) -> WorkerSpec:
        """The worker that a cell needs, for its timing or for its memory."""
        return WorkerSpec(
            cell.backend,
            python=self.pythons.get(cell.side, sys.executable),
            device=cell.device,
            threads=cell.threads,
            side=cell.side,
            exact_memory=exact_memory,
        )
