"""Where a plan's comparison groups are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cnnbench.harness.passes.checks import check_pass
from cnnbench.harness.passes.launches import launches
from cnnbench.harness.passes.memory import memory_pass
from cnnbench.harness.passes.timing import timing_pass
from cnnbench.harness.passes.training import training_pass
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.pool import Pool


class Executor(Protocol):
    """Runs cells whose comparison groups are whole; what it finds goes to the session's store, part by part."""

    def execute(self, session: Session, cells: Sequence[Cell], settle: Callable[[Sequence[Cell]], None]) -> None:
        """Runs every pass of the cells.

        Args:
            session: The run under way.
            cells: Whole comparison groups; a group's backends belong on one machine.
            settle: Writes the records of those cells that are complete or have failed.
        """


class LocalExecutor:
    """The local machine: first what proves, then what is timed, then what is weighed.

    Checks and training share workers; every launch of the timing has workers of its own, which serve one group after
    another; the memory pass has a fresh worker for each cell.
    """

    def execute(self, session: Session, cells: Sequence[Cell], settle: Callable[[Sequence[Cell]], None]) -> None:
        with Pool(session.plan.suite.timeouts.start_s, session.watch) as pool:
            check_pass(session, cells, pool)
            settle(cells)
            training_pass(session, cells, pool)
        for launch in launches(session, cells):
            timing_pass(session, launch.cells, launch.number, launch.deadline)
            settle(cells)
        settle(cells)  # those that wait for the end of sequential sampling
        memory_pass(session, cells, settle)
