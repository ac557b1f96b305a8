"""Where a plan's comparison groups are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cnnbench.harness.passes.checks import check_pass
from cnnbench.harness.passes.claims import claim_pass
from cnnbench.harness.passes.events import CellsFinished, Report
from cnnbench.harness.passes.facts import Machine, PassFacts
from cnnbench.harness.passes.launches import launches
from cnnbench.harness.passes.memory import memory_pass
from cnnbench.harness.passes.program_training import program_training_pass
from cnnbench.harness.passes.timing import timing_pass
from cnnbench.harness.passes.training import training_pass
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell


class Executor(Protocol):
    """Runs cells whose comparison groups are whole; a group's backends belong on one machine."""

    def execute(self, facts: Callable[[Machine], PassFacts], cells: Sequence[Cell], report: Report) -> None:
        """Runs every pass of the cells.

        Args:
            facts: What is known of the run at the moment, for passes that work on a machine.
            cells: Whole comparison groups.
            report: Takes what passes find; ``CellsFinished`` has the records written that can be.
        """


@dataclass(frozen=True)
class LocalExecutor:
    """The local machine: first what proves, then what is timed, then what is weighed; claims come last.

    Checks and training share workers; every launch of the timing has workers of its own, which serve one group after
    another; the memory pass has a fresh worker for each cell.

    Args:
        machine: How workers are started, and the clock.
    """

    machine: Machine = field(default_factory=Machine)

    def execute(self, facts: Callable[[Machine], PassFacts], cells: Sequence[Cell], report: Report) -> None:
        """Runs every pass of the cells, as ``Executor.execute`` says."""
        everything = CellsFinished(tuple(cell.id for cell in cells))

        def now() -> PassFacts:
            return facts(self.machine)

        with Work(now(), report) as checking, checking.pool() as pool:
            check_pass(checking, cells, pool)
            with Work(now(), report) as training:
                training_pass(training, cells, pool)
                program_training_pass(training, cells, pool)
        report(everything)  # not before: a curve that was kept may still be compared with others
        for launch in launches(now, cells, report):
            timing_pass(now(), launch, report)
            report(everything)
        report(everything)  # those that were timed: their intervals rest on all of them
        with Work(now(), report) as weighing:
            memory_pass(weighing, cells)
        with Work(now(), report) as trying:
            claim_pass(trying)
