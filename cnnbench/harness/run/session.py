"""The state of a run under way: what every pass reads and writes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.errors import CnnbenchError, StorageError, UnavailableError, WorkerError
from cnnbench.harness.passes.events import Doing, Event, Note, WorkDone
from cnnbench.harness.passes.findings import ChecksPart, Failure, LaunchPart, MemoryPart, Parts, Sample, TrainingPart
from cnnbench.harness.passes.material import Materials
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore, write_atomically
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.status import Status
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.clock import now_utc
from cnnbench.measurement.stopwatch import Stopwatch

if TYPE_CHECKING:
    from cnnbench.harness.run.extensions import Recorder
    from cnnbench.harness.suite.plan import Plan
    from cnnbench.harness.worker.interface import Worker
    from cnnbench.harness.worker.sides import Interpreter


Undecided = Callable[[Sequence[tuple[Cell, Sequence[Sample]]]], frozenset[str]]
"""From the samples that each cell has so far to the keys of the cells on which more are worth taking."""


@dataclass(frozen=True)
class RunOptions:
    """How a plan is run.

    Args:
        root: Where runs' folders are made. resume: the folder of a run to continue instead.
        recorders: By name; they hear of records that are already on disk.
        pythons: The interpreter of each side; the one that runs this for a side that is not named. A run that is
            continued keeps those that it was started with.
        sides: What each side's interpreter said of itself, for the run's environment.
        time_wrong_numbers: Time cells even where a check failed.
        undecided: Where the suite samples sequentially, says after each launch which cells go on.
    """

    root: Path = DEFAULT_ROOT
    resume: Path | None = None
    recorders: Mapping[str, Recorder] = field(default_factory=dict)
    pythons: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, Interpreter] = field(default_factory=dict)
    time_wrong_numbers: bool = False
    undecided: Undecided | None = None


@dataclass
class Session:
    """A run under way.

    Args:
        emit: Tells listeners.
        done: Cells whose record an earlier run wrote. failures: of cells that ended early, by id.
        wrong: Failed checks by id, of cells that may be timed all the same.
        anchors: The cell's key through which the parts of a group that is too large for memory are compared, by group.
        defects: Exceptions that are no one's fault but cnnbench's, one line each.
        sampling_ended: Whether no cell gets another launch.
    """

    plan: Plan
    options: RunOptions
    store: RunStore
    emit: Callable[[Event], None]
    materials: Materials = field(default_factory=Materials)
    watch: Stopwatch = field(default_factory=Stopwatch)
    started_utc: str = field(default_factory=now_utc)
    done: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    wrong: dict[str, Failure] = field(default_factory=dict)
    begun: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    yardsticks: list[dict[str, float]] = field(default_factory=list)
    anchors: dict[str, str] = field(default_factory=dict)
    defects: list[str] = field(default_factory=list)
    sampling_ended: bool = True

    def __post_init__(self) -> None:
        latency = self.plan.suite.measure.latency
        self.sampling_ended = latency is None or latency.sequential is None or self.options.undecided is None

    def spec(self, cell: Cell, *, exact_memory: bool = False) -> WorkerSpec:
        """The worker that a cell needs, for its timing or for its memory."""
        return WorkerSpec(
            cell.backend,
            python=self.options.pythons.get(cell.side, sys.executable),
            device=cell.device,
            threads=cell.threads,
            side=cell.side,
            exact_memory=exact_memory,
        )

    def parts(self, cell: str) -> Parts:
        """What earlier passes, or an earlier run, found of a cell."""
        read = self.store.read_part
        latency = self.plan.suite.measure.latency
        launches = (read(cell, f"launch-{i}", LaunchPart) for i in range(latency.most_launches if latency else 0))
        return Parts(
            read(cell, "checks", ChecksPart),
            tuple(part for part in launches if part is not None),
            read(cell, "memory", MemoryPart),
            read(cell, "training", TrainingPart),
        )

    def open(self, cell: Cell) -> bool:
        """Whether there is still something to find out about a cell."""
        return cell.skip is None and cell.id not in self.done and cell.id not in self.failures

    def doing(self, cell: Cell, what: str) -> None:
        """Tells what goes on, and notes when a cell began."""
        self.begun.setdefault(cell.id, now_utc())
        self.emit(Doing(f"{cell.id}: {what}", cell.id))

    def note(self, text: str) -> None:
        """Tells a reader something, now and in the summary."""
        self.notes.append(text)
        self.emit(Note(text))

    def fail(self, cell: Cell, failure: Failure, log: str = "") -> None:
        """Ends a cell; what its worker printed goes beside its record."""
        self.failures[cell.id] = failure
        if log:
            write_atomically(self.store.cell_folder(cell.id) / "stderr.log", log)

    def fail_by(self, cell: Cell, status: Status, reason: str) -> None:
        """Ends a cell."""
        self.fail(cell, Failure(status=status, reason=reason))

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
        except OSError as error:  # of scratch files: a full disk, a limit on open files
            self.fail(cell, Failure(status="error", reason=f"cnnbench cannot go on with it: {error}"))
        except Exception as error:  # a defect of ours must not cost the other cells
            self.defects.append(f"{cell.id}: {type(error).__name__}: {error}")
            reason = f"defect of cnnbench: {type(error).__name__}: {error}"
            self.fail(cell, Failure(status="error", reason=reason), traceback.format_exc())

    def finished(self, units: int = 1) -> None:
        """Counts work for progress bars."""
        self.emit(WorkDone(units))
