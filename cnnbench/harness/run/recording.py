"""Writes the records of cells that are complete, are skipped or have failed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from cnnbench.harness.passes.findings import Digests, Failure, Parts
from cnnbench.harness.run.assembly import assemble
from cnnbench.harness.run.beside_records import write_files
from cnnbench.harness.run.earlier_runs import earlier_latencies
from cnnbench.harness.run.events import CellRecorded
from cnnbench.harness.run.hooks import RunHooks
from cnnbench.harness.run.latencies import CellFigures, cell_figures
from cnnbench.harness.run.state import RunState
from cnnbench.harness.suite.cell import Cell

INTERRUPTED = Failure(status="interrupted", reason="the run was interrupted; --resume continues it")


class Recording:
    """Turns what is known of cells into records.

    Args:
        state: Of the run.
        hooks: Derive figures from records, and hear of those that are on disk.
    """

    def __init__(self, state: RunState, hooks: RunHooks) -> None:
        self._state = state
        self._hooks = hooks
        self._steadied: dict[str, CellFigures] | None = None

    def settle(self, cells: Sequence[Cell], *, last: bool = False) -> None:
        """Writes the records that can be written. Args: last: nothing more will be found of any cell."""
        for cell in self._left(cells):
            failure = self._state.failures.get(cell.id)
            if cell.skip is not None:
                failure = Failure(status="skipped", reason=cell.skip)
            if failure is not None or last or self._is_complete(cell):
                self._record(cell, failure or self._state.wrong.get(cell.id))

    def stop(self, cells: Sequence[Cell]) -> None:
        """After an interruption: failures are kept, and cells that had begun are recorded as interrupted."""
        for cell in self._left(cells):
            failure = self._state.failures.get(cell.id)
            if failure is None and cell.id in self._state.begun:
                failure = INTERRUPTED
            if failure is not None:
                self._record(cell, failure)

    def _left(self, cells: Sequence[Cell]) -> list[Cell]:
        return [cell for cell in cells if cell.id not in self._state.records]

    def _is_complete(self, cell: Cell) -> bool:
        latency = self._state.plan.suite.measure.latency
        launches = latency.launches if latency and "latency" in cell.measure else 0
        if launches and not self._state.sampling_ended:
            return False
        parts = self._state.parts.read(cell)
        return (
            (not cell.checks or parts.checks is not None)
            and len(parts.launches) >= launches
            and ("memory" not in cell.measure or parts.memory is not None)
            and (not cell.train or parts.training is not None)
        )

    def _record(self, cell: Cell, failure: Failure | None) -> None:
        state = self._state
        parts = Parts() if cell.skip else state.parts.read(cell)
        digests = None if cell.skip else self._digests(cell)
        started_utc = state.begun.get(cell.id, state.started_utc)
        figures = self._figures(cell, parts)
        folder = state.store.cell_folder(cell.id)
        record = assemble(cell, parts, figures, failure=failure, digests=digests, started_utc=started_utc)
        record = record.model_copy(update={"files": write_files(folder, parts)})
        record = self._hooks.with_metrics(record)
        state.store.write_record(record)
        state.records[cell.id] = record
        state.tell(CellRecorded(record, folder))
        self._hooks.recorded(record, folder)

    def _digests(self, cell: Cell) -> Digests | None:
        with contextlib.suppress(Exception):  # the cell's failure says what is wrong with it
            return self._state.materials.of(cell).digests
        return None

    def _figures(self, cell: Cell, parts: Parts) -> CellFigures:
        """What timing shows of a cell, beside all cells of the run; by itself where it ended before they were timed."""
        state = self._state
        if not state.sampling_ended:
            return cell_figures([(cell, parts)]).get(cell.id, CellFigures())
        if self._steadied is None:
            timed = [other for other in state.plan.runnable if "latency" in other.measure]
            found = [(other, own) for other in timed if (own := state.parts.read(other)).samples]
            known = {other.id: digests for other, _ in found if (digests := self._digests(other)) is not None}
            earlier = earlier_latencies(state.store, [other for other, _ in found], known)
            self._steadied = cell_figures(found, earlier)
        return self._steadied.get(cell.id, CellFigures())
