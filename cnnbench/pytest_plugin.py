"""Collects suites as tests: each check an item, each timed cell a benchmark that replays the worker's samples."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from cnnbench.harness.run.record import Record
    from cnnbench.harness.suite.cell import Cell
    from cnnbench.harness.suite.plan import Plan

_KEYS = (re.compile(r"^schema_version\s*:", re.MULTILINE), re.compile(r"^matrix\s*:", re.MULTILINE))
_AXES = (re.compile(r"\barchitectures?[\"']?\s*:"), re.compile(r"\bbackends?[\"']?\s*:"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and settings of the suites that are collected."""
    group = parser.getgroup("cnnbench")
    group.addoption(
        "--cnnbench-set", action="append", default=[], metavar="PATH=VALUE", help="change collected suites (repeatable)"
    )
    group.addoption("--cnnbench-quick", action="store_true", help="smallest batches, few rounds, one epoch")
    group.addoption(
        "--cnnbench-output", default=None, metavar="DIR", help="keep the runs' folders here instead of a temporary one"
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    """Claims suites, and a file named on the command line that has a suite's keys; reads no other as YAML."""
    if file_path.suffix not in (".yaml", ".yml") or not is_suite(file_path, named=parent.session.isinitpath(file_path)):
        return None
    suite: SuiteFile = SuiteFile.from_parent(parent, path=file_path)
    return suite


def is_suite(path: Path, *, named: bool = False) -> bool:
    """Whether a file has ``schema_version`` and ``matrix`` at its top, and architectures and backends below.

    Args:
        path: A YAML file; other tools' have the first two keys, too.
        named: Whether the user named this file, so that those two are enough.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return all(key.search(text) for key in (_KEYS if named else _KEYS + _AXES))


def why_untimed(config: pytest.Config) -> str | None:
    """Why nothing is timed in this session, as pytest-benchmark decides it; None where it is."""
    if os.environ.get("PYTEST_XDIST_WORKER") or config.getoption("dist", "no") != "no":
        return "nothing is timed while pytest-xdist runs tests beside each other: -p no:xdist, or -n 0"
    if config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False):
        return "--benchmark-disable"
    return None


class SuiteFile(pytest.File):
    """A suite: its cells' checks, training and timings are its items."""

    plan: Plan

    def collect(self) -> Iterator[pytest.Item]:
        """The items, a comparison group's together."""
        from cnnbench.errors import CnnbenchError
        from cnnbench.harness.suite.file import Adjustments, adjusted, load_suite
        from cnnbench.harness.suite.plan import plan

        try:
            suite = load_suite(self.path, self.config.getoption("cnnbench_set"))
            quick = bool(self.config.getoption("cnnbench_quick"))
            self.plan = plan(adjusted(suite, Adjustments(quick=quick)))
        except CnnbenchError as error:
            raise self.CollectError(str(error)) from None
        self._records: dict[str, dict[str, Record]] = {}
        self._samples: dict[str, list[float]] = {}
        self._unproven: dict[object, Record] = {}
        for group in dict.fromkeys(cell.group for cell in self.plan.cells):
            for cell in self.plan.cells:
                if cell.group == group:
                    yield from self._items(cell)

    def _items(self, cell: Cell) -> Iterator[pytest.Item]:
        for check in cell.checks:
            yield self._item(cell, check, self._check_function(cell, check))
        if cell.train:
            yield self._item(cell, "train", self._pass_function(cell, "training", "training run"))
        if "latency" in cell.measure:
            yield self._item(cell, "latency", self._timing_function(cell))
        elif "memory" in cell.measure:
            yield self._item(cell, "memory", self._pass_function(cell, "memory", "memory pass"))

    def _item(self, cell: Cell, what: str, function: Callable[..., None]) -> SuiteItem:
        item: SuiteItem = SuiteItem.from_parent(self, name=f"{cell.id}[{what}]", callobj=function)
        item.cell, item.what = cell, what
        reason = cell.skip or (why_untimed(self.config) if what == "latency" else None)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
        return item

    def _check_function(self, cell: Cell, check: str) -> Callable[[], None]:
        def run_check() -> None:
            outcome = (record := self.record(cell)).check(check)
            if outcome is None:
                pytest.fail(f"{check} has no outcome", pytrace=False)
            if outcome.status == "failed":
                where = f" at {outcome.node}" if outcome.node else ""
                pytest.fail(f"{check} failed{where}: {outcome.message}", pytrace=False)
            unproven = record.unproven if record.cell.checks == cell.checks else None
            if outcome.status == "skipped" or unproven is not None:
                pytest.skip(f"{outcome.message}; inconclusive: {unproven}" if unproven else outcome.message)

        return run_check

    def _pass_function(self, cell: Cell, field: str, what: str) -> Callable[[], None]:
        def has_outcome() -> None:
            if getattr(self.record(cell), field) is None:
                pytest.fail(f"the {what} has no outcome", pytrace=False)

        return has_outcome

    def _timing_function(self, cell: Cell) -> Callable[..., None]:
        """A function whose ``benchmark`` fixture, where pytest-benchmark is here, reads a clock of recorded samples."""
        if not self.config.pluginmanager.hasplugin("benchmark"):
            return self._plain_timing_function(cell)
        clock = ReplayedClock()

        def time_cell(benchmark: Any) -> None:
            try:
                clock.samples = iter(self._timed(cell))
            except pytest.fail.Exception as failure:
                _fail_within(benchmark, failure)
            record = self.record(cell)
            benchmark.extra_info.update(cell=cell.model_dump(mode="json"), versions=record.versions)
            benchmark.pedantic(clock.call, setup=clock.reset, rounds=len(self._samples[cell.id]), iterations=1)

        marked: Callable[..., None] = pytest.mark.benchmark(group=cell.group, timer=clock.timer())(time_cell)
        return marked

    def _plain_timing_function(self, cell: Cell) -> Callable[[], None]:
        def time_cell() -> None:
            self._timed(cell)

        return time_cell

    def _timed(self, cell: Cell) -> list[float]:
        self.record(cell)
        if (other := self._unproven.get(cell.program_key)) is not None:
            pytest.fail(f"its program was not proven: {other.cell.id}: {other.reason or other.unproven}", pytrace=False)
        samples = self._samples[cell.id]
        if not samples:
            pytest.fail("no sample was taken", pytrace=False)
        return samples

    def record(self, cell: Cell) -> Record:
        """A cell's record; the first item of a comparison group to ask measures the whole group."""
        if cell.group not in self._records:
            self._measure(cell.group)
        record = self._records[cell.group].get(cell.id)
        if record is None:
            pytest.fail("the cell was not run", pytrace=False)
        if record.status not in ("ok", "mismatch"):
            pytest.fail(f"{record.status}: {record.reason}", pytrace=False)
        return record

    def _measure(self, group: str) -> None:
        """Runs the part of a group that this session selected."""
        from cnnbench.harness.run.runner import RunInterrupted, RunOptions, run
        from cnnbench.harness.run.store import RunStore

        wanted = self._wanted(group)
        part = self.plan.model_copy(update={"cells": wanted})
        done = run(part, RunOptions(root=self._root()), ())
        if done.summary.interrupted:  # the run has written what it has; the session ends as for any other test
            raise RunInterrupted(done)
        store = RunStore.open(done.folder)
        self._records[group] = store.records()
        self._unproven |= {item.cell.program_key: item for item in store.records().values() if item.is_unproven}
        for cell in wanted:
            self._samples[cell.id] = [sample.latency_s for sample in store.read_samples(cell.id)]

    def _wanted(self, group: str) -> tuple[Cell, ...]:
        asked: dict[str, set[str]] = {}
        for item in self.session.items:
            skipped = any(item.iter_markers("skip"))  # by us, by --benchmark-skip, by a conftest
            if isinstance(item, SuiteItem) and item.parent is self and item.cell.group == group and not skipped:
                asked.setdefault(item.cell.id, set()).add(item.what)
        return tuple(
            _narrowed(cell, asked[cell.id]) for cell in self.plan.cells if cell.id in asked and cell.skip is None
        )

    def _root(self) -> Path:
        chosen = self.config.getoption("cnnbench_output")
        factory: pytest.TempPathFactory = self.config._tmp_path_factory  # type: ignore[attr-defined]
        return factory.mktemp("cnnbench") if chosen is None else Path(chosen)


class SuiteItem(pytest.Function):
    """One check, training run or timing of a cell."""

    cell: Cell
    what: str

    def reportinfo(self) -> tuple[Path, int, str]:
        """The suite's file; its head, for a cell has no line of its own."""
        return self.path, 0, self.name


class ReplayedClock:
    """A virtual clock: each call lasts as long as the worker's next sample did."""

    def __init__(self) -> None:
        self.samples: Iterator[float] = iter(())
        self.now_s = 0.0

    def reset(self) -> None:
        """Back to zero before each call, so that no sample loses digits to a long clock."""
        self.now_s = 0.0

    def call(self) -> None:
        """Stands for one call of the program."""
        self.now_s = next(self.samples, 0.0)

    def timer(self) -> Callable[[], float]:
        """What pytest-benchmark reads; it wants a function with a name."""

        def replayed_clock() -> float:
            return self.now_s

        return replayed_clock


def _fail_within(benchmark: Any, failure: BaseException) -> NoReturn:
    """Lets the failure pass through the fixture, which would else warn that it was not used."""

    def fail() -> None:
        raise failure

    benchmark.has_error = True
    benchmark.pedantic(fail)
    raise failure


def _narrowed(cell: Cell, asked: Iterable[str]) -> Cell:
    """The cell with only the work that is asked for."""
    wanted = set(asked)
    return cell.model_copy(
        update={
            "checks": tuple(name for name in cell.checks if name in wanted),
            "measure": tuple(name for name in cell.measure if name in wanted or "latency" in wanted),
            "train": cell.train and "train" in wanted,
        }
    )
