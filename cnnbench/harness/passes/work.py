"""One pass at work: what it reports, which cells it has ended, and how it goes on where a cell goes wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from cnnbench.errors import CnnbenchError, StorageError, UnavailableError, WorkerError
from cnnbench.execution.culprits import culprit
from cnnbench.harness.passes.events import (
    CellFailed,
    CellsFinished,
    DefectFound,
    NoteAdded,
    PartFound,
    Report,
    TimeSpent,
    UnitsDone,
    WorkBegun,
)
from cnnbench.harness.passes.facts import PassFacts
from cnnbench.harness.passes.findings import Failure, Part
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.status import Status
from cnnbench.harness.worker.interface import Worker
from cnnbench.harness.worker.pool import Pool
from cnnbench.measurement.stopwatch import Stopwatch


class Work:
    """One pass at work. What it spent its time on is reported when it is left, however that happens.

    Args:
        facts: What it may know.
        report: Takes what it finds.

    Attributes:
        failures: Of the cells that it has ended, by id.
    """

    def __init__(self, facts: PassFacts, report: Report) -> None:
        self.facts = facts
        self.report = report
        self.watch = Stopwatch(facts.machine.clock)
        self.failures: dict[str, Failure] = {}

    def pool(self, watch: Stopwatch | None = None) -> Pool:
        """A pool of workers. Args: watch: counts the seconds of starting them; this pass's unless given."""
        start_s = self.facts.suite.timeouts.start_s
        return Pool(start_s, watch or self.watch, self.facts.machine.start_worker, self._note_once)

    def _note_once(self, text: str) -> None:
        """Reports what the workers of every launch may report, each of them."""
        self.report(NoteAdded(text, once=True))

    def is_open(self, cell: Cell) -> bool:
        """Whether there is still something to find out about a cell."""
        return self.facts.is_open(cell) and cell.id not in self.failures

    def begin(self, cell: Cell, what: str) -> None:
        """Reports what goes on now."""
        self.report(WorkBegun(cell.id, what))

    def note(self, text: str) -> None:
        """Reports something that a reader should know."""
        self.report(NoteAdded(text))

    def keep(self, cell: Cell, name: str, part: Part) -> None:
        """Reports what was found of a cell.

        Args:
            cell: Whose part it is.
            name: What it is kept under.
            part: What was found.
        """
        self.report(PartFound(cell.id, name, part))

    def fail(self, cell: Cell, failure: Failure, log: str = "") -> None:
        """Ends a cell.

        Args:
            cell: The cell that ends.
            failure: Its status and the reason.
            log: What its worker printed.
        """
        self.failures[cell.id] = failure
        self.report(CellFailed(cell.id, failure, log))

    def count(self, units: int = 1) -> None:
        """Reports units of work for progress bars."""
        self.report(UnitsDone(units))

    def finish(self, *cells: Cell) -> None:
        """Reports that the pass has nothing more to say of these cells."""
        self.report(CellsFinished(tuple(cell.id for cell in cells)))

    @contextmanager
    def guarded(self, cell: Cell, worker: Callable[[], Worker | None] = lambda: None) -> Iterator[None]:
        """Work on one cell: whatever goes wrong ends that cell and nothing else.

        Args:
            cell: Whose work it is.
            worker: Gives the worker whose log tells more, if there is one by then.
        """
        before = worker()
        mark = before.log.mark() if before else 0
        try:
            yield
        except UnavailableError as error:  # what the plan could not know without importing the framework
            self.fail(cell, Failure(status="skipped", reason=str(error)))
        except StorageError:  # the next cell's record could not be written either
            raise
        except CnnbenchError as error:
            status: Status = getattr(error, "status", "error") if isinstance(error, WorkerError) else "error"
            current = worker()
            log = current.log.text(mark if current is before else 0) if current else ""
            self.fail(cell, Failure(status=status, reason=str(error)), log)
        except MemoryError as error:  # of a network's weights and inputs, which are made here
            reason = f"cnnbench cannot hold its arrays: {error or 'out of memory'}"
            self.fail(cell, Failure(status="out_of_memory", reason=reason))
        except OSError as error:  # of scratch files: a full disk, a limit on open files
            self.fail(cell, Failure(status="error", reason=f"cnnbench cannot go on with it: {error}"))
        except Exception as error:  # a plugin's, or a defect of ours: it must not cost the other cells
            said = culprit(error)
            if said is None:
                self.report(DefectFound(f"{cell.id}: {type(error).__name__}: {error}"))
                said = f"defect of cnnbench: {type(error).__name__}: {error}"
            self.fail(cell, Failure(status="error", reason=said), traceback.format_exc())

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Work beside a cell's own, whose failure costs the cell nothing: a note says it. Args: what: was not done."""
        try:
            yield
        except CnnbenchError as error:
            self.note(f"{what}: {error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.report(TimeSpent(self.watch.spent()))
