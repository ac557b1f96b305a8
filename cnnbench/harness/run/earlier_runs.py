"""What runs made before, of the same work in the same environment, found of a cell: they show how runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.errors import DataError
from cnnbench.harness.passes.findings import Digests
from cnnbench.harness.run.record import Latency, Record
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.cell import Cell

MOST_RUNS = 20  # the latest ones
PASSING = ("load_average", "python_executable")  # of the environment, and no part of what a run is made of


def earlier_latencies(
    store: RunStore, cells: Sequence[Cell], digests: Mapping[str, Digests]
) -> dict[str, tuple[Latency, ...]]:
    """By a cell's id, the latencies that earlier runs found, the latest first.

    A run counts whose folder lies beside this one and was made before it, in the same environment: machine, system,
    packages, variables, and commit of the working directory, without changes to its files. Of it a cell counts whose
    key and digests are the same. A/B runs have no such history.

    Args:
        store: Of the run.
        cells: Those that were timed.
        digests: Of their graph, weights and inputs, by id.
    """
    environment = _lasting(store.read_environment())
    if environment is None or any(cell.side != "head" for cell in cells):
        return {}
    found: dict[str, list[Latency]] = {cell.id: [] for cell in cells if cell.id in digests}
    before = [folder for folder in store.folder.parent.iterdir() if folder.name < store.folder.name]
    counted = 0
    for folder in sorted(before, reverse=True):
        if counted == MOST_RUNS:
            break
        if not (folder / "summary.json").exists() or not (folder / "cells").is_dir():
            continue
        earlier = RunStore.open(folder)
        try:
            if _lasting(earlier.read_environment()) != environment:
                continue
        except DataError:
            continue
        counted += 1
        for cell in cells:
            record = earlier.read_record(cell.id) if cell.id in found else None
            if record is not None and record.latency is not None and _is_same(record, cell, digests[cell.id]):
                found[cell.id].append(record.latency)
    return {name: tuple(latencies) for name, latencies in found.items() if latencies}


def _is_same(record: Record, cell: Cell, digests: Digests) -> bool:
    alike = record.cell.key == cell.key and record.cell.side == cell.side and record.digests == digests
    return record.status == "ok" and alike


def _lasting(environment: Mapping[str, Any]) -> dict[str, Any] | None:
    """What two runs must have in common; None where that is unknown, or files were changed since the commit."""
    git = environment.get("git") or {}
    if not environment or git.get("modified"):
        return None
    return {name: value for name, value in environment.items() if name not in PASSING}
