"""A run's folder: every file is written whole or not at all, and what is half there counts as not run."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cnnbench.errors import DataError, StorageError, SuiteError
from cnnbench.harness.passes.findings import Sample
from cnnbench.harness.run.beside_records import read_numerics, read_samples
from cnnbench.harness.run.files import read_model, to_json, write_atomically
from cnnbench.harness.run.json_text import read_json
from cnnbench.harness.run.record import SCHEMA_VERSION, Record
from cnnbench.measurement.clock import utc
from cnnbench.numerics.outcome import NodeUse

if TYPE_CHECKING:
    from cnnbench.harness.run.summary import Summary
    from cnnbench.harness.suite.plan import Plan

DEFAULT_ROOT = Path("reports/runs")
VERDICTS = "gate.json"


@dataclass
class RunStore:
    """The folder of one run.

    Args:
        folder: ``<root>/<suite>/<utc>-<random>``.
        problems: What could not be read, one sentence each; such a cell counts as not run.
    """

    folder: Path
    problems: list[str] = field(default_factory=list)

    @staticmethod
    def create(suite: str, root: Path = DEFAULT_ROOT) -> RunStore:
        """A new folder whose name sorts by time. Raises SuiteError where it cannot be made."""
        now = utc()
        name = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{secrets.token_hex(3)}"
        folder = root / suite / name
        try:
            (folder / "cells").mkdir(parents=True)
        except OSError as error:
            raise SuiteError(f"the run's folder cannot be made: {error.strerror}", where=str(folder)) from None
        return RunStore(folder)

    @staticmethod
    def open(folder: Path) -> RunStore:
        """An existing run. Raises SuiteError where there is none."""
        if not (folder / "cells").is_dir():
            raise SuiteError("this is no run's folder", where=str(folder), expected="a folder with 'cells' in it")
        return RunStore(folder)

    @cached_property
    def id(self) -> str:
        """The run's own, in whatever folder it lies: the name of the folder in which it was made."""
        from cnnbench.harness.run.plan_file import run_id

        return run_id(self.folder)

    @property
    def _lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def begun(self) -> bool:
        """Whether a process has held the folder so far; a moment after it was made none has."""
        return self._lock.exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process, so that two runs cannot mix; freed by the kernel if the process dies.

        Raises SuiteError where another process holds it, StorageError where it cannot be written.
        """
        import fcntl

        try:
            file = self._lock.open("ab")
        except OSError as error:
            message = f"the run's folder cannot be written: {error.strerror}"
            raise StorageError(message, where=str(self.folder), remedy="copy the run to one that can") from None
        with file:
            self._hold(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """Keeps other processes from running in the folder while this one reads it; writes nothing.

        Raises SuiteError where another process is running in it.
        """
        import fcntl

        try:
            file = self._lock.open("rb")
        except OSError:  # no process has held it, or this user may not know
            yield
            return
        with file:
            self._hold(file, fcntl.LOCK_SH)
            yield

    def _hold(self, file: IO[bytes], how: int) -> None:
        import fcntl

        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SuiteError(
                "another process is running in this folder", where=str(self.folder), remedy="wait for it to end"
            ) from None

    def cell_folder(self, cell: str) -> Path:
        """Where a cell's files lie."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", cell):
            raise DataError("a cell's id cannot name a folder", received=cell)
        return self.folder / "cells" / cell

    def write_plan(self, plan: Plan) -> None:
        """``plan.json`` and ``suite.resolved.yaml``."""
        from cnnbench.harness.run.plan_file import write_plan

        write_plan(self.folder, plan, self.id)

    def read_plan(self) -> Plan:
        """The plan that the run was started with. Raises DataError where it is not there, or not as it was written."""
        from cnnbench.harness.run.plan_file import read_plan

        return read_plan(self.folder)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """``environment.json``."""
        write_atomically(self.folder / "environment.json", to_json(environment))

    def read_environment(self) -> dict[str, Any]:
        """``environment.json``; {} where there is none."""
        path = self.folder / "environment.json"
        if not path.exists():
            return {}
        content = read_json(path)
        if not isinstance(content, dict):
            raise DataError("not a JSON object", where=str(path))
        return content

    def write_lock(self, distributions: Mapping[str, Mapping[str, str]]) -> None:
        """``lock.json``: by side, the versions of all distributions that its interpreter has."""
        write_atomically(self.folder / "lock.json", to_json({"schema_version": SCHEMA_VERSION, "sides": distributions}))

    def read_lock(self) -> dict[str, dict[str, str]]:
        """What ``write_lock`` wrote; {} where there is none. Raises DataError."""
        path = self.folder / "lock.json"
        if not path.exists():
            return {}
        try:
            sides = read_json(path)["sides"]
            return {str(name): {str(k): str(v) for k, v in found.items()} for name, found in sides.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the lock cannot be read: {error!r}", where=str(path)) from None

    def write_record(self, record: Record) -> None:
        """``record.json``: the last of a cell's files, and the one that says that the cell is done."""
        write_atomically(self.cell_folder(record.cell.id) / "record.json", to_json(record))

    def read_record(self, cell: str) -> Record | None:
        """A cell's record; None where there is none or it cannot be read (``problems`` says why)."""
        path = self.cell_folder(cell) / "record.json"
        if not path.exists():
            return None
        try:
            return read_model(path, Record)
        except DataError as error:
            self.problems.append(f"{cell} counts as not run: {error}")
            return None

    def records(self) -> dict[str, Record]:
        """Every readable record by cell id, in the order of the plan where there is one."""
        known = [path.name for path in sorted((self.folder / "cells").iterdir()) if path.is_dir()]
        if (self.folder / "plan.json").exists():
            order = {cell.id: i for i, cell in enumerate(self.read_plan().cells)}
            known.sort(key=lambda name: order.get(name, len(order)))
        found = ((name, self.read_record(name)) for name in known)
        return {name: record for name, record in found if record is not None}

    def read_samples(self, cell: str) -> list[Sample]:
        """The timed calls of a cell; [] where it was not timed. Raises DataError."""
        return read_samples(self.cell_folder(cell))

    def read_numerics(self, cell: str) -> list[NodeUse]:
        """The use of the error budget by node; [] where there was no local check. Raises DataError."""
        return read_numerics(self.cell_folder(cell))

    @property
    def digest(self) -> str:
        """Of all records as they are: what was made from the run, such as a verdict, carries it."""
        total = hashlib.sha256()
        for path in sorted((self.folder / "cells").glob("*/record.json")):
            total.update(f"{path.parent.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()

    def read_verdicts(self) -> dict[str, Any] | None:
        """``gate.json``; None where there is none, or the records are others than those that were judged."""
        path = self.folder / VERDICTS
        content = read_json(path) if path.exists() else None
        return content if isinstance(content, dict) and content.get("records") == self.digest else None

    def write_summary(self, summary: Summary) -> None:
        """``summary.json``."""
        write_atomically(self.folder / "summary.json", to_json(summary))

    def read_summary(self) -> Summary:
        """``summary.json``. Raises DataError."""
        from cnnbench.harness.run.summary import Summary

        path = self.folder / "summary.json"
        if not path.exists():
            raise DataError("the file is missing", where=str(path), remedy="the run did not get so far; --resume it")
        return read_model(path, Summary)


def runs(root: Path | str = DEFAULT_ROOT, suite: str | None = None) -> list[Path]:
    """The folders of runs under ``root``, oldest first."""
    folders = [path for path in Path(root).glob(f"{suite or '*'}/*") if (path / "cells").is_dir()]
    return sorted(folders, key=_begun)


def _begun(folder: Path) -> str:
    """What sorts by the time at which a run began: its id, which is the folder's name unless that was changed."""
    return folder.name if re.match(r"[0-9]{8}T[0-9]{6}", folder.name) else RunStore(folder).id


def latest(suite: str, root: Path | str = DEFAULT_ROOT) -> Path | None:
    """The newest run of a suite, or None."""
    found = runs(root, suite)
    return found[-1] if found else None
