"""A cell in two runs, and where its latency lies in each: on a logarithmic scale, by launch and round."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, median

from cnnbench.gates.baselines import CellSnapshot
from cnnbench.harness.suite.cell import Key
from cnnbench.measurement import levels
from cnnbench.measurement.levels import RoundValues


@dataclass(frozen=True)
class Pair:
    """A cell in both runs."""

    base: CellSnapshot
    head: CellSnapshot

    @cached_property
    def delta(self) -> float:
        """log(head / base) of the locations, the machine's drift included."""
        return location(self.head) - location(self.base)

    @property
    def key(self) -> str:
        """The cell's key, the same in both runs."""
        return self.head.cell.key

    @property
    def backend(self) -> str:
        """Whose cell it is."""
        return self.head.cell.backend

    @property
    def series(self) -> Key:
        """The backend with its mode: its cells may have changed for one reason."""
        return (self.head.cell.backend, self.head.cell.mode)

    @property
    def group(self) -> Key:
        """Its comparison group in the head run."""
        return self.head.cell.comparison_group

    @property
    def sides(self) -> tuple[CellSnapshot, CellSnapshot]:
        """Base and head."""
        return self.base, self.head


def round_logs(cell: CellSnapshot) -> RoundValues:
    """The log of each round's median."""
    return {(item.launch, item.round): math.log(item.median_s) for item in cell.rounds}


def launch_locations(cell: CellSnapshot) -> dict[int, float]:
    """The median over rounds of each launch, on a logarithmic scale."""
    return levels.by_launch(round_logs(cell))


def location(cell: CellSnapshot) -> float:
    """The log of its latency, as a record has it."""
    return levels.location(round_logs(cell))


def without_shared(cells: Iterable[CellSnapshot]) -> list[RoundValues]:
    """Each cell's rounds around the cell's own level, less what all cells of a round share (the median of them)."""
    centred: list[RoundValues] = []
    for cell in cells:
        logs = round_logs(cell)
        level = mean(logs.values())
        centred.append({key: value - level for key, value in logs.items()})
    if len(centred) < 3:
        return centred
    common = set.intersection(*(set(rounds) for rounds in centred))
    shared = {key: median(rounds[key] for rounds in centred) for key in common}
    return [{key: value - shared.get(key, 0.0) for key, value in rounds.items()} for rounds in centred]
