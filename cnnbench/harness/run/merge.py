"""Makes one run of several that share a suite: shards that ran on several machines, or one after another."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from cnnbench.errors import DataError, StorageError, SuiteError
from cnnbench.harness.run.claim_records import FOLDER as CLAIMS
from cnnbench.harness.run.differences import first_difference
from cnnbench.harness.run.provenance import check_records
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore
from cnnbench.harness.run.summary import RunFacts, Summary, summarize_run
from cnnbench.harness.suite.asked import files_of, suite_as_asked
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.plan import Plan
from cnnbench.measurement.environment import FINGERPRINT, fingerprint


@dataclass(frozen=True)
class _Shard:
    """One of the runs."""

    store: RunStore
    plan: Plan
    environment: dict[str, Any]
    summary: Summary | None

    @property
    def name(self) -> str:
        return self.store.id


def merge(folders: Sequence[Path], root: Path = DEFAULT_ROOT) -> Path:
    """A new run with the cells of all of them; they stay as they are.

    Cells of one comparison group must come from one run, because only those were timed in the same rounds. Runs of
    different machines can be merged: groups are compared within themselves, and the run's fingerprint, which no machine
    has, keeps gates from comparing its times with others.

    Args:
        folders: Of two runs or more.
        root: Where the new one is made.

    Raises:
        SuiteError: The runs differ in their suite or in what was installed, overlap, or are still running.
        DataError: A file of a run is damaged.
        StorageError: The new run cannot be written; nothing of it is left then.
    """
    if len({folder.resolve() for folder in folders}) < max(len(folders), 2):
        raise SuiteError("there is nothing to merge", received=f"{len(folders)} runs", expected="two different runs")
    with contextlib.ExitStack() as held:
        shards = [_opened(folder, held) for folder in folders]
        _check(shards)
        store = RunStore.create(shards[0].plan.suite.name, root)
        try:
            with store.locked():
                _write(store, shards)
        except OSError as error:  # of a full disk, most likely; shutil.Error, which lists several files, is one
            shutil.rmtree(store.folder, ignore_errors=True)
            raise StorageError(f"the merged run cannot be written: {error}", where=str(store.folder)) from error
        except BaseException:
            shutil.rmtree(store.folder, ignore_errors=True)
            raise
    return store.folder


def _opened(folder: Path, held: contextlib.ExitStack) -> _Shard:
    store = RunStore.open(folder)
    held.enter_context(store.at_rest())
    summary = store.read_summary() if (folder / "summary.json").exists() else None
    return _Shard(store, store.read_plan(), store.read_environment(), summary)


def _check(shards: Sequence[_Shard]) -> None:
    """Refuses runs that are not parts of one."""
    first = shards[0]
    for other in shards[1:]:
        where = f"{first.name} and {other.name}"
        key = first_difference(suite_as_asked(first.plan.suite), suite_as_asked(other.plan.suite))
        if key is not None:
            raise SuiteError("the runs are of different suites", where=where, received=f"another {key}")
        sides = first_difference(first.store.read_lock(), other.store.read_lock())
        if sides is not None:
            remedy = "install the same everywhere: pip install -c constraints.txt"
            raise SuiteError("the runs had different packages", where=where, received=f"another {sides}", remedy=remedy)
    seen: dict[tuple[str, str], _Shard] = {}
    groups: dict[Key, _Shard] = {}
    for shard in shards:
        for cell in shard.plan.cells:
            other = seen.setdefault((cell.key, cell.side), shard)
            if other is not shard:
                raise SuiteError(
                    "a cell is in two runs", where=f"{other.name} and {shard.name}", received=cell.id,
                    remedy="give each shard once",
                )  # fmt: skip
            if groups.setdefault(cell.comparison_group, shard) is not shard:
                raise SuiteError(
                    "a comparison group is in two runs, so its cells were not timed together",
                    where=f"{groups[cell.comparison_group].name} and {shard.name}",
                    received=cell.group,
                    remedy="part a suite with --shard I/N, which keeps groups whole",
                )


def _write(store: RunStore, shards: Sequence[_Shard]) -> None:
    notes = list(_notes(shards))
    plan = _plan(shards)
    store.write_lock(shards[0].store.read_lock())
    store.write_environment(_environment(shards))
    store.write_plan(plan)
    for shard in shards:
        for cell in shard.plan.cells:
            folder = shard.store.cell_folder(cell.id)
            if folder.is_dir():
                shutil.copytree(folder, store.cell_folder(cell.id))
        if (shard.store.folder / CLAIMS).is_dir():
            shutil.copytree(shard.store.folder / CLAIMS, store.folder / CLAIMS, dirs_exist_ok=True)
    records = store.records()
    if store.problems:
        raise DataError("a record cannot be merged", where=store.problems[0])
    check_records(plan.cells, records)
    known = [shard.summary for shard in shards if shard.summary is not None]
    facts = RunFacts(
        suite=plan.suite.name,
        run=store.id,
        started_utc=min((summary.started_utc for summary in known), default=""),
        finished_utc=max((summary.finished_utc for summary in known), default=""),
        interrupted=any(shard.summary is None or shard.summary.interrupted for shard in shards),
        defects=tuple(line for summary in known for line in summary.defects),
        seconds=_summed(known),
        yardsticks=_yardsticks(shards),
        claims=tuple(claim for summary in known for claim in summary.claims),
        notes=tuple(notes),
    )
    store.write_summary(summarize_run(plan.cells, records, facts))


def _plan(shards: Sequence[_Shard]) -> Plan:
    """All cells, the groups of shards dealt back in turn; without its shard where all of them are here."""
    ordered = sorted(shards, key=lambda shard: shard.plan.filters.shard or (0, 0))
    by_group = [_groups(_with_files_of(shards[0].plan, shard.plan)) for shard in ordered]
    cells = [cell for turn in zip_longest(*by_group, fillvalue=()) for group in turn for cell in group]
    filters = shards[0].plan.filters.model_copy(update={"shard": None})
    return Plan(suite=shards[0].plan.suite, filters=filters, cells=tuple(cells))


def _with_files_of(first: Plan, other: Plan) -> Plan:
    """A plan with the paths of another one of the same suite: one machine may have it in another folder."""
    here = {asked: name for name, asked in files_of(first.suite).items()}
    names = {name: here[asked] for name, asked in files_of(other.suite).items()}
    cells = (
        cell.model_copy(
            update={
                "architecture": names.get(cell.architecture, cell.architecture),
                "weights": cell.weights and names.get(cell.weights, cell.weights),
            }
        )
        for cell in other.cells
    )
    return other.model_copy(update={"cells": tuple(cells)})


def _groups(plan: Plan) -> list[tuple[Cell, ...]]:
    found: dict[Key, list[Cell]] = {}
    for cell in plan.cells:
        found.setdefault(cell.comparison_group, []).append(cell)
    return [tuple(cells) for cells in found.values()]


def _machines(shards: Sequence[_Shard]) -> dict[str, str]:
    return {shard.name: fingerprint(shard.environment) for shard in shards}


def _environment(shards: Sequence[_Shard]) -> dict[str, Any]:
    """The first run's, with what identifies a machine listed where it differs."""
    merged = dict(shards[0].environment)
    for name in (*FINGERPRINT, "processors_allowed"):
        values = list(dict.fromkeys(str(shard.environment.get(name)) for shard in shards))
        if len(values) > 1:
            merged[name] = values if name == "processors_allowed" else " | ".join(sorted(values))
    return merged | {"merged": _machines(shards)}


def _notes(shards: Sequence[_Shard]) -> Iterator[str]:
    yield f"merged from {', '.join(shard.name for shard in shards)}"
    if len(set(_machines(shards).values())) > 1:
        yield "the runs were made on different machines: compare times within a comparison group only"
    parts = {shard.plan.filters.shard for shard in shards} - {None}
    counts = {count for _, count in parts if count}  # type: ignore[misc]
    for count in sorted(counts):
        missing = sorted(set(range(1, count + 1)) - {part for part, of in parts if of == count})  # type: ignore[misc]
        if missing:
            yield f"shards that are not here: {', '.join(f'{part}/{count}' for part in missing)}"
    for shard in shards:
        if shard.summary is None:
            yield f"{shard.name} has not ended"
        else:
            yield from (f"{shard.name}: {note}" for note in shard.summary.notes)


def _summed(summaries: Sequence[Summary]) -> dict[str, float]:
    names = dict.fromkeys(name for summary in summaries for name in summary.seconds)
    return {name: sum(summary.seconds.get(name, 0.0) for summary in summaries) for name in names}


def _yardsticks(shards: Sequence[_Shard]) -> dict[str, float]:
    """Medians over the runs of one machine; {} of several, where one figure would mean nothing."""
    if len(set(_machines(shards).values())) > 1:
        return {}
    known = [shard.summary.yardsticks for shard in shards if shard.summary is not None and shard.summary.yardsticks]
    return {name: median(item[name] for item in known if name in item) for name in (known[0] if known else {})}
