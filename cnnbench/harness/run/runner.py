"""Runs a plan: passes fill a folder with parts, parts become records, records become a summary."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnnbench.errors import DataError, SuiteError
from cnnbench.harness.passes.events import CellDone, Event, Listener, RunBegan, RunEnded
from cnnbench.harness.passes.findings import Failure, Parts
from cnnbench.harness.run.assembly import assemble, foreign_load
from cnnbench.harness.run.executors import Executor, LocalExecutor
from cnnbench.harness.run.extensions import FinishedRun, StartedRun
from cnnbench.harness.run.hooks import RunHooks
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.session import RunOptions, Session
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.run.summary import RunFacts, Summary, summarize_run
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.plan import Plan
from cnnbench.harness.worker.sides import interpreters_of
from cnnbench.measurement.clock import now_utc
from cnnbench.measurement.environment import capture, fingerprint
from cnnbench.measurement.installed import distributions as installed_distributions

__all__ = ["RunOptions", "RunResult", "run"]

RUN_AGAIN = frozenset({"crashed", "hung", "out_of_memory", "error", "interrupted"})


@dataclass(frozen=True)
class RunResult:
    """What a run left."""

    folder: Path
    summary: Summary
    records: tuple[Record, ...]

    @property
    def exit_code(self) -> int:
        """As in the summary."""
        return self.summary.exit_code


def run(
    plan: Plan,
    options: RunOptions | None = None,
    listeners: Sequence[Listener] = (),
    executor: Executor | None = None,
) -> RunResult:
    """Runs a plan, or continues one.

    Every record is on disk before a listener, a recorder or a hook hears of it. An interruption (Ctrl-C or
    SIGTERM) leaves what was measured, and the summary says so.

    Args:
        plan: What to run. When ``options.resume`` is set it must be the plan that the run was started with.
        options: Where and how.
        listeners: Are told of progress.
        executor: Where; this machine unless given.

    Raises:
        SuiteError: The folder to resume is none, is of another plan, or is in use.
    """
    options = options or RunOptions()
    store = RunStore.open(options.resume) if options.resume else RunStore.create(plan.suite.name, options.root)
    with store.locked():
        options = _begin(store, plan, options)
        session = Session(plan, options, store, _teller(listeners))
        try:
            with _terminable():
                return _Run(session, executor or LocalExecutor()).go()
        finally:
            session.materials.close()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM, which is how a CI job is cancelled, end a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _teller(listeners: Sequence[Listener]) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _begin(store: RunStore, plan: Plan, options: RunOptions) -> RunOptions:
    """Writes down what a run starts with; one that is continued gets the interpreters that it was started with."""
    if options.resume is not None and (store.folder / "plan.json").exists():
        before = store.read_plan()
        if {cell.id: cell.key for cell in before.cells} != {cell.id: cell.key for cell in plan.cells}:
            raise SuiteError(
                "the run was started with another plan",
                where=str(store.folder),
                remedy="resume it with the suite and the options that it was started with",
            )
        return replace(options, pythons=options.pythons or interpreters_of(store.read_environment()))
    sides = {name: interpreter.reported for name, interpreter in options.sides.items()}
    distributions = {name: interpreter.distributions for name, interpreter in options.sides.items()}
    store.write_lock(distributions or {"head": installed_distributions()})
    store.write_environment(capture() | ({"sides": sides} if sides else {}))
    store.write_plan(plan)  # the last: a run that was killed before has no plan, and one with a plan has all of this
    return options


def _earlier(session: Session) -> Summary | None:
    """What the invocation that is continued said of the run, where it came so far."""
    if session.options.resume is not None:
        with contextlib.suppress(DataError):
            return session.store.read_summary()
    return None


def _sum(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    names = dict.fromkeys([*first, *second])
    return {name: round(first.get(name, 0.0) + second.get(name, 0.0), 3) for name in names}


class _Run:
    """One run from its first event to its last."""

    def __init__(self, session: Session, executor: Executor) -> None:
        self._session = session
        self._executor = executor
        self._records: dict[str, Record] = {}
        self._environment = session.store.read_environment()
        self._earlier = _earlier(session)
        self._hooks = RunHooks(session.options.recorders, session.note)

    def go(self) -> RunResult:
        session = self._session
        self._resume()
        cells = session.plan.cells
        session.emit(RunBegan(session.store.folder, cells, _work(session.plan)))
        self._started()
        interrupted = False
        try:
            self._settle(cells)
            self._executor.execute(session, session.plan.runnable, self._settle)
            self._settle(cells, last=True)
        except KeyboardInterrupt:
            interrupted = True
            self._stop(cells)
        return self._finish(interrupted=interrupted)

    def _resume(self) -> None:
        """Takes over the records that need not be made again."""
        session = self._session
        for name, record in session.store.records().items():
            if record.status not in RUN_AGAIN:
                self._records[name] = record
                session.done.add(name)
        if session.options.resume is not None:
            now = capture()
            if fingerprint(now) != fingerprint(self._environment):
                session.note("the run was continued on another machine than it was started on")
            if now["packages"] != self._environment.get("packages"):
                session.note("the run was continued with other versions of packages than it was started with")

    def _started(self) -> None:
        session = self._session
        started = StartedRun(session.store.id, session.store.folder, session.plan, self._environment)
        self._hooks.started(started)
        for name in session.done:
            session.emit(CellDone(self._records[name], session.store.cell_folder(name), resumed=True))

    def _settle(self, cells: Iterable[Cell], *, last: bool = False) -> None:
        """Writes the record of each cell that is complete, is skipped or has failed."""
        session = self._session
        for cell in cells:
            if cell.id in self._records:
                continue
            failure = session.failures.get(cell.id)
            if cell.skip is not None:
                failure = Failure(status="skipped", reason=cell.skip)
            if failure is None and not last and not self._complete(cell):
                continue
            self._record(cell, failure or session.wrong.get(cell.id))

    def _complete(self, cell: Cell) -> bool:
        suite = self._session.plan.suite
        parts = self._session.parts(cell.id)
        launches = suite.measure.latency.launches if suite.measure.latency and "latency" in cell.measure else 0
        return (
            (not cell.checks or parts.checks is not None)
            and len(parts.launches) >= launches
            and (self._session.sampling_ended or not launches)
            and ("memory" not in cell.measure or parts.memory is not None)
            and (not cell.train or parts.training is not None)
        )

    def _stop(self, cells: Iterable[Cell]) -> None:
        """After an interruption: failures are kept, and cells that had begun are recorded as interrupted."""
        for cell in cells:
            if cell.id in self._records:
                continue
            failure = self._session.failures.get(cell.id)
            if failure is None and cell.id in self._session.begun:
                failure = Failure(status="interrupted", reason="the run was interrupted; --resume continues it")
            if failure is not None:
                self._record(cell, failure)

    def _record(self, cell: Cell, failure: Failure | None) -> None:
        session = self._session
        parts = Parts() if cell.skip else session.parts(cell.id)
        digests = None
        if cell.skip is None:
            with contextlib.suppress(Exception):  # the cell's failure says what is wrong with it
                digests = session.materials.of(cell).digests
        record = assemble(
            cell,
            parts,
            failure=failure,
            digests=digests,
            started_utc=session.begun.get(cell.id, session.started_utc),
        )
        record = self._hooks.with_metrics(record)
        if parts.samples:
            session.store.write_samples(cell.id, parts.samples)
        session.store.write_record(record)
        self._records[cell.id] = record
        folder = session.store.cell_folder(cell.id)
        session.emit(CellDone(record, folder))
        self._hooks.recorded(record, folder)

    def _finish(self, *, interrupted: bool) -> RunResult:
        session = self._session
        cells = session.plan.cells
        if (busy := foreign_load(self._records.values())) is not None:
            session.note(busy)
        facts = RunFacts(
            suite=session.plan.suite.name,
            run=session.store.id,
            started_utc=self._earlier.started_utc if self._earlier else session.started_utc,
            finished_utc=now_utc(),
            interrupted=interrupted,
            defects=tuple(session.defects),
            seconds=_sum(session.watch.seconds(), self._earlier.seconds if self._earlier else {}),
            yardsticks=_medians([*([self._earlier.yardsticks] if self._earlier else []), *session.yardsticks]),
            notes=(*session.notes, *session.store.problems),
        )
        summary = summarize_run(cells, self._records, facts)
        session.store.write_summary(summary)
        records = tuple(self._records[cell.id] for cell in cells if cell.id in self._records)
        finished = FinishedRun(
            session.store.id, session.store.folder, session.plan, self._environment, records, summary
        )
        links = self._hooks.finished(finished)
        if links or len(session.notes) > len(facts.notes):
            notes = (*session.notes, *session.store.problems)
            summary = summary.model_copy(update={"links": links, "notes": notes})
            session.store.write_summary(summary)
        session.emit(RunEnded(session.store.folder, summary.exit_code))
        return RunResult(session.store.folder, summary, records)


def _work(plan: Plan) -> int:
    """How many units ``WorkDone`` counts."""
    latency = plan.suite.measure.latency
    launches = latency.launches if latency else 0
    epochs = plan.suite.train.epochs if plan.suite.train else 0
    return sum(
        len(cell.checks) + launches * ("latency" in cell.measure) + ("memory" in cell.measure) + epochs * cell.train
        for cell in plan.runnable
    )


def _medians(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    from statistics import median

    known = [item for item in measured if item]
    return {name: median(item[name] for item in known) for name in (known[0] if known else {})}
