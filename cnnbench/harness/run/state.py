"""The state of a run: everything that passes report is taken in here, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache

from cnnbench.harness.passes import events
from cnnbench.harness.passes.facts import PROVING, Machine, PassFacts
from cnnbench.harness.passes.findings import Failure, Part
from cnnbench.harness.passes.material import Materials
from cnnbench.harness.run.claim_records import KeptClaims
from cnnbench.harness.run.events import Event, Listener
from cnnbench.harness.run.files import write_atomically
from cnnbench.harness.run.kept_parts import KeptParts
from cnnbench.harness.run.options import RunOptions
from cnnbench.harness.run.provenance import Installation, MadeFrom, made_from
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.plan import Plan
from cnnbench.measurement.clock import now_utc
from cnnbench.measurement.installed import distributions
from cnnbench.measurement.stopwatch import Stopwatch

_installed = cache(distributions)  # what this process imports stays as it is


class RunState:
    """A run under way. ``apply`` is the one way in which a pass changes it; ``facts`` is what passes see of it.

    Args:
        plan: What is run.
        options: How.
        store: Its folder, to which a part is written before anyone hears of it.
        materials: Files of weights and inputs.
        listeners: Hear of every event once it is taken in.

    Attributes:
        records: Of cells that are done, by id.
        failures: Why cells ended early. wrong: failed checks of cells that may be timed all the same.
        begun: When work on a cell began.
        anchors: The cell's key through which the parts of a group that is too large for memory are compared, by group.
        sampling_ended: Whether no cell gets another launch.
    """

    def __init__(
        self, plan: Plan, options: RunOptions, store: RunStore, materials: Materials, listeners: Sequence[Listener]
    ) -> None:
        self.plan = plan
        self.options = options
        self.store = store
        self.materials = materials
        self.watch = Stopwatch()
        self.started_utc = now_utc()
        self.parts = KeptParts(store, self._made_from, self.note)
        self.claims = KeptClaims(store.folder, plan.claims, _installed, self.note)
        self.records: dict[str, Record] = {}
        self.failures: dict[str, Failure] = {}
        self.wrong: dict[str, Failure] = {}
        self.begun: dict[str, str] = {}
        self.notes: list[str] = []
        self.defects: list[str] = []
        self.yardsticks: list[dict[str, float]] = []
        self.anchors: dict[str, str] = {}
        self.sampling_ended = plan.suite.measure.latency is None
        self._listeners = list(listeners)
        self._cells = {cell.id: cell for cell in plan.cells}

    def facts(self, machine: Machine) -> PassFacts:
        """What a pass that begins now may know. Args: machine: where it works."""
        return PassFacts(
            suite=self.plan.suite,
            materials=self.materials,
            found=self.parts.read,
            folder=lambda cell: self.store.cell_folder(cell.id),
            ended=frozenset((*self.records, *self.failures)),
            machine=machine,
            pythons=dict(self.options.pythons),
            anchors=dict(self.anchors),
            time_wrong_numbers=self.options.time_wrong_numbers,
            proven=frozenset(cell.program_key for cell in self.plan.cells if set(cell.checks) & set(PROVING)),
            claims=self.claims.missing(),
            undecided=self.options.undecided,
        )

    def apply(self, event: events.PassEvent) -> None:
        """Takes in what a pass reports; then listeners hear of it."""
        match event:
            case events.WorkBegun():
                self.begun.setdefault(event.cell, now_utc())
            case events.PartFound():
                self.parts.write(self._cells[event.cell], event.name, event.part)
            case events.CellFailed():
                self._fail(event)
            case events.WrongNumbersFound():
                self.wrong[event.cell] = event.failure
            case events.ClaimTried():
                self.claims.keep(event)
            case events.AnchorChosen():
                self.anchors.setdefault(event.group, event.key)
            case events.YardsticksMeasured():
                self.yardsticks.append(dict(event.values))
            case events.SamplingEnded():
                self.sampling_ended = True
            case events.TimeSpent():
                self.watch.add_all(event.seconds)
            case events.NoteAdded():
                if event.once and event.text in self.notes:
                    return
                self.notes.append(event.text)
            case events.DefectFound():
                self.defects.append(event.text)
            case _:
                pass  # progress, of which only listeners make use
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Lets listeners hear of an event; one that can no longer write, as into a closed terminal, is left out."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except OSError as error:
                self._listeners.remove(listener)
                self.note(f"progress was no longer shown: {error}")

    def note(self, text: str) -> None:
        """Adds a sentence to the summary."""
        self.apply(events.NoteAdded(text))

    def _fail(self, event: events.CellFailed) -> None:
        """What the cell's worker printed goes beside its record."""
        self.failures[event.cell] = event.failure
        if event.log:
            write_atomically(self.store.cell_folder(event.cell) / "stderr.log", event.log)

    def _made_from(self, cell: Cell, kind: type[Part]) -> MadeFrom:
        python = self.options.pythons.get(cell.side, sys.executable)
        reported = self.options.sides.get(cell.side)
        here = _installed() if reported is None else reported.distributions
        return made_from(cell, kind, self.plan.suite, Installation(python, here))
