"""The plan by which a bundled run is run again: its own cells, as far as they can run here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cnnbench.errors import CnnbenchError
from cnnbench.harness.run.bundle import BundledRun
from cnnbench.harness.suite.availability import Availability
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.matrix import DEVICE
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.networks import PackageFile
from cnnbench.harness.suite.plan import Plan, as_it_is_now
from cnnbench.harness.suite.points import Point
from cnnbench.harness.suite.trainings import training_data
from cnnbench.porting.references import file_name, named_file


@dataclass(frozen=True)
class Rerun:
    """How a bundle is run again.

    Args:
        files: Where attachments were written, by the name that cells have for them.
        threads: Instead of the bundle's; None keeps them.
        backends: Only these; () for all.
        lacking: None without an interpreter for the base side of an A/B run; else why a backend cannot run on both
            sides here, by name, or None.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    threads: int | None = None
    backends: tuple[str, ...] = ()
    lacking: Mapping[str, str | None] | None = None

    def plan(self, run: BundledRun) -> Plan:
        """The bundled plan with ids kept, so that records match; what cannot run here is skipped with its reason.

        The base side of an A/B run is left out where nobody says what it is here: it is not in the bundle.
        """
        here = Availability()
        cells = [
            self._cell(cell, here, run.plan.suite)
            for cell in run.plan.cells
            if (cell.side == "head" or self.lacking is not None)
            and cell.skip is None
            and (not self.backends or cell.backend in self.backends)
        ]
        return run.plan.model_copy(update={"cells": tuple(cells)})

    def _cell(self, cell: Cell, here: Availability, suite: Suite) -> Cell:
        changes: dict[str, object] = {"skip": self._lack(cell, here, suite)}
        if self.threads is not None:
            changes["threads"] = self.threads
        if cell.architecture in self.files:
            changes["architecture"] = file_name(self.files[cell.architecture])
        if cell.weights is not None and cell.weights in self.files:
            changes["weights"] = str(self.files[cell.weights])
        return as_it_is_now(cell.model_copy(update=changes))

    def _lack(self, cell: Cell, here: Availability, suite: Suite) -> str | None:
        """Why a cell cannot run here. No file is read that the bundle does not bring, but an installed package's."""
        if named_file(cell.architecture) is not None and cell.architecture not in self.files:
            return "its network is not in the bundle"
        if cell.weights is not None and cell.weights not in self.files and not _in_package(cell.weights):
            return "its weights are not in the bundle"
        if cell.backend not in here.plugins:
            return f"there is no backend {cell.backend!r} here"
        if (reason := (self.lacking or {}).get(cell.backend)) is not None:
            return reason
        if not re.fullmatch(DEVICE, cell.device):
            return f"there is no device {cell.device!r}"
        point = Point(**{name: getattr(cell, name) for name in Point._fields})
        if point.weights in self.files:
            point = point._replace(weights=str(self.files[str(point.weights)]))
        try:
            return here.skip(point, training_data(cell, suite))
        except CnnbenchError as error:
            return str(error)


def _in_package(weights: str) -> bool:
    """Whether weights are those that an installed package brings along, and no file beside it."""
    packaged = PackageFile.read(weights)
    return packaged is not None and packaged.stays


def write_attachments(run: BundledRun, folder: Path) -> dict[str, Path]:
    """Writes a bundle's networks and weights into a folder under names of our own, and says where each is."""
    found = {}
    for name, (member, data) in run.attachments.items():
        path = folder / member.removeprefix("attachments/")
        path.write_bytes(data)
        found[name] = path
    return found
