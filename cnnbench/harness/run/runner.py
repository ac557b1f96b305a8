"""Runs a plan: passes fill a folder with parts, parts become records, records become a summary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from cnnbench.errors import DataError, StorageError, UnfinishedRunError
from cnnbench.harness.passes.events import CellsFinished, PassEvent
from cnnbench.harness.passes.material import Materials
from cnnbench.harness.passes.train_settings import start_of
from cnnbench.harness.run.assembly import foreign_load
from cnnbench.harness.run.beginning import begin, take_over, tell_taken_over
from cnnbench.harness.run.events import Listener, RunFinished, RunStarted
from cnnbench.harness.run.executors import Executor, LocalExecutor
from cnnbench.harness.run.extensions import FinishedRun, StartedRun
from cnnbench.harness.run.hooks import RunHooks
from cnnbench.harness.run.interruption import interruptible
from cnnbench.harness.run.options import RunOptions
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.recording import Recording
from cnnbench.harness.run.state import RunState
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.run.summary import RunFacts, Summary, summarize_run
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import Plan
from cnnbench.harness.suite.trainings import training_units
from cnnbench.measurement.clock import now_utc
from cnnbench.numerics.cache_size import cache_bytes

__all__ = ["RunInterrupted", "RunOptions", "RunResult", "run"]


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a run left."""

    folder: Path
    summary: Summary
    records: tuple[Record, ...]

    @property
    def exit_code(self) -> int:
        """As in the summary."""
        return self.summary.exit_code

    def __repr__(self) -> str:
        """Short enough to be read; ``cnnbench.results`` shows the records."""
        return f"RunResult({str(self.folder)!r}, {len(self.records)} records, exit code {self.exit_code})"


class RunInterrupted(KeyboardInterrupt):
    """An interruption of a run whose records, summary and reports are written.

    Args:
        result: What the run left.
    """

    def __init__(self, result: RunResult) -> None:
        super().__init__(f"the run was interrupted; what it measured is kept, and can be continued: {result.folder}")
        self.result = result


def run(
    plan: Plan,
    options: RunOptions | None = None,
    listeners: Sequence[Listener] = (),
    executor: Executor | None = None,
) -> RunResult:
    """Runs a plan, or continues one.

    Every record is on disk before a listener, a recorder or a hook hears of it. An interruption (Ctrl-C, SIGTERM or
    SIGHUP) leaves what was measured, and the summary says so.

    Args:
        plan: What to run. When ``options.resume`` is set it must be the plan that the run was started with.
        options: Where and how.
        listeners: Hear of progress.
        executor: Where; this machine unless given.

    Raises:
        SuiteError: The folder to resume is none, is of another plan, or is in use; the cache's size is not valid.
    """
    options = options or RunOptions()
    cache_bytes()
    with interruptible():
        store = RunStore.open(options.resume) if options.resume else RunStore.create(plan.suite.name, options.root)
        with store.locked(), _resumable(store.folder), _materials(plan.suite) as materials:
            plan, options = begin(store, plan, options)
            state = RunState(plan, options, store, materials, listeners)
            return _Run(state, executor or LocalExecutor()).go()


def _materials(suite: Suite) -> contextlib.closing[Materials]:
    return contextlib.closing(Materials(partial(start_of, suite)))


@contextlib.contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Says of what could not be written that the run can go on when it can be."""
    try:
        yield
    except StorageError as error:
        remedy = f"what was written before is kept: make room, then cnnbench run --resume {folder}"
        raise UnfinishedRunError(error.message, where=error.where, remedy=remedy) from error


class _Run:
    """One run from its first event to its last."""

    def __init__(self, state: RunState, executor: Executor) -> None:
        self._state = state
        self._executor = executor
        self._environment = state.store.read_environment()
        self._hooks = RunHooks(state.options.recorders, state.note)
        self._recording = Recording(state, self._hooks)

    def go(self) -> RunResult:
        state, cells = self._state, self._state.plan.cells
        take_over(state, self._environment)
        earlier = _earlier(state)
        interrupted = False
        try:
            state.tell(RunStarted(state.store.folder, cells, _units(state.plan)))
            self._hooks.started(StartedRun(state.store.id, state.store.folder, state.plan, self._environment))
            tell_taken_over(state)
            self._recording.settle([cell for cell in cells if cell.skip is not None])
            self._executor.execute(state.facts, state.plan.runnable, self._take_in)
            self._recording.settle(cells, last=True)
        except KeyboardInterrupt:
            interrupted = True
            self._recording.stop(cells)
        return self._finish(earlier, interrupted=interrupted)

    def _take_in(self, event: PassEvent) -> None:
        """What passes report changes the state; where a pass is through with cells, their records may be complete."""
        self._state.apply(event)
        if isinstance(event, CellsFinished):
            finished = set(event.cells)
            self._recording.settle([cell for cell in self._state.plan.cells if cell.id in finished])

    def _finish(self, earlier: Summary | None, *, interrupted: bool) -> RunResult:
        state, cells = self._state, self._state.plan.cells
        if not cells:
            state.note("this shard has no cell: the suite has fewer comparison groups than shards were asked for")
        if (busy := foreign_load(state.records.values())) is not None:
            state.note(busy)
        facts = _facts(state, earlier, interrupted=interrupted)
        summary = summarize_run(cells, state.records, facts)
        state.store.write_summary(summary)
        records = tuple(state.records[cell.id] for cell in cells if cell.id in state.records)
        finished = FinishedRun(state.store.id, state.store.folder, state.plan, self._environment, records, summary)
        links = self._hooks.finished(finished)
        notes = (*state.notes, *state.store.problems)
        if links or notes != facts.notes:
            summary = summary.model_copy(update={"links": links, "notes": notes})
            state.store.write_summary(summary)
        state.tell(RunFinished(state.store.folder, summary.exit_code))
        return RunResult(state.store.folder, summary, records)


def _earlier(state: RunState) -> Summary | None:
    """What the invocation that is continued said of the run, where it came so far."""
    if state.options.resume is not None:
        with contextlib.suppress(DataError):
            return state.store.read_summary()
    return None


def _facts(state: RunState, earlier: Summary | None, *, interrupted: bool) -> RunFacts:
    return RunFacts(
        suite=state.plan.suite.name,
        run=state.store.id,
        started_utc=earlier.started_utc if earlier else state.started_utc,
        finished_utc=now_utc(),
        interrupted=interrupted,
        defects=tuple(state.defects),
        seconds=_sum(state.watch.seconds(), earlier.seconds if earlier else {}),
        yardsticks=_medians([*([earlier.yardsticks] if earlier else []), *state.yardsticks]),
        claims=state.claims.rows(),
        notes=(*state.notes, *state.store.problems),
    )


def _sum(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    names = dict.fromkeys([*first, *second])
    return {name: round(first.get(name, 0.0) + second.get(name, 0.0), 3) for name in names}


def _medians(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    known = [item for item in measured if item]
    return {name: median(item[name] for item in known) for name in (known[0] if known else {})}


def _units(plan: Plan) -> int:
    """How many units ``UnitsDone`` counts."""
    latency = plan.suite.measure.latency
    launches = latency.launches if latency else 0
    return sum(
        len(cell.checks)
        + launches * ("latency" in cell.measure)
        + ("memory" in cell.measure)
        + training_units(cell, plan.suite)
        for cell in plan.runnable
    )
