"""``fault_score``: faults drawn from the grammar, put into a backend, and what its checks make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from cnnbench.errors import SuiteError
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision as find_precision
from cnnbench.face.backends import chosen_backend
from cnnbench.face.keywords import takes
from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.numerics.faults.grammar.faults import FaultId
from cnnbench.numerics.faults.grammar.networks import network
from cnnbench.numerics.faults.score import (
    CleanRow,
    FaultRow,
    FaultScore,
    ScoreFile,
    Scoring,
    clean_ids,
    examine_clean,
    examine_fault,
    fault_ids,
    made_from,
)

if TYPE_CHECKING:
    from cnnbench.face.backends import ChosenBackend

_Row = TypeVar("_Row", FaultRow, CleanRow)
COUNT = 1000


class ScoreKeywords(TypedDict, total=False):
    """How many faults are drawn, and what becomes of the rows.

    Args:
        count: Faults; 1,000 unless given. clean: runs of the backend as it is; none unless given.
        seed: Of the draws; 0 unless given.
        networks: Names of the grammar's networks or of architectures; all of the grammar's unless given.
        precision: Of the faulty programs; clean runs take all that the backend has.
        threads: Computing threads; 1 unless given.
        minutes: After which no further row is begun; what is missing comes with the next call on the same file.
        file: Rows as JSON lines: those that were made from the same code, versions, mode and precision are not made
            again.
        on_row: Called with each new row.
    """

    count: int
    clean: int
    seed: int
    networks: Sequence[str]
    precision: str
    threads: int
    minutes: float | None
    file: Path | str | None
    on_row: Callable[[Any], None] | None


@takes(ScoreKeywords)
def fault_score(backend: str, *, fault: str | None = None, **how: Unpack[ScoreKeywords]) -> FaultScore:
    """The mutation score of a backend's checks: how many drawn faults are killed and located, and the false alarms.

    Args:
        backend: ``NAME`` or ``NAME:MODE``.
        fault: The id of one fault, which alone is drawn again.
        how: The keywords below.

    Raises:
        SuiteError: An unknown network or mode, or an id that is none.
        UnavailableError: An unknown backend or precision, or one that cannot be used here.
        DataError: A file that holds something else.
    """
    chosen = chosen_backend(backend, how.get("precision", "float32"))
    asked = _asked(chosen, how)
    source = made_from(asked)
    if fault is not None:
        return FaultScore(*_named(asked), [examine_fault(asked, FaultId.parse(fault))], made_from=source)
    path = how.get("file")
    file = None if path is None else ScoreFile(Path(path), source.digest)
    known = ([], []) if file is None else file.rows()
    rows = Rows(file, how)
    faults = rows.filled(
        known[0], islice(fault_ids(asked), how.get("count", COUNT)), lambda name: examine_fault(asked, name)
    )
    policies = chosen.plugin.precisions[chosen.mode]
    clean = rows.filled(
        known[1], islice(clean_ids(asked), how.get("clean", 0)), lambda name: examine_clean(asked, name, policies)
    )
    return FaultScore(*_named(asked), faults, clean, source)


def _asked(chosen: ChosenBackend, how: ScoreKeywords) -> Scoring:
    for name in how.get("networks", ()):
        network(name)
    for what, number in (("count", how.get("count", 0)), ("clean", how.get("clean", 0))):
        if number < 0:
            raise SuiteError(f"{what} is not valid", received=number, expected="a number of at least 0")
    backend = chosen.load(ProcessSettings(threads=how.get("threads", 1)))
    options = ProgramOptions(chosen.mode, find_precision(how.get("precision", "float32")))
    return Scoring(backend, options, how.get("seed", 0), tuple(how.get("networks", ())))


def _named(asked: Scoring) -> tuple[str, str, str]:
    return asked.backend.name, asked.options.mode, asked.options.precision.name


class Rows:
    """Rows that are read from a file or made, as long as there is time.

    Args:
        file: Where they are kept; None for nowhere.
        how: With the time that there is, and who hears of new rows.
        clock: By which the time passes.
    """

    def __init__(self, file: ScoreFile | None, how: ScoreKeywords, clock: Clock = MACHINE) -> None:
        self._file, self._on_row, self._clock = file, how.get("on_row"), clock
        minutes = how.get("minutes")
        self._end = None if minutes is None else clock.now() + 60 * minutes

    def filled(self, known: Sequence[_Row], names: Iterator[Any], make: Callable[[Any], _Row]) -> list[_Row]:
        """A row for each name, those that are known as they are.

        Args:
            known: From the file.
            names: Of all rows.
            make: Makes one.
        """
        by_id = {row.id: row for row in known}
        found: list[_Row] = []
        for name in names:
            if str(name) in by_id:
                found.append(by_id[str(name)])
                continue
            if self._end is not None and self._clock.now() > self._end:
                continue
            began = self._clock.processor()
            row = make(name)
            row = replace(row, seconds=round(self._clock.processor() - began, 3))
            found.append(row)
            if self._file is not None:
                self._file.append(row)
            if self._on_row is not None:
                self._on_row(row)
        return found
