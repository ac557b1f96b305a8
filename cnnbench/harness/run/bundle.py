"""Packs a run into a bundle, free of this machine's paths, and unpacks one into values."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnnbench.errors import DataError
from cnnbench.harness.passes.findings import Sample
from cnnbench.harness.run.attachments import attachments_of
from cnnbench.harness.run.beside_records import NUMERICS, SAMPLES, recorded_file
from cnnbench.harness.run.bundle_file import BundleFile, Manifest, digests, write_bundle
from cnnbench.harness.run.files import first_problem
from cnnbench.harness.run.provenance import check_records
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.store import VERDICTS, RunStore
from cnnbench.harness.run.summary import Summary
from cnnbench.harness.suite.asked import files_of, renamed
from cnnbench.harness.suite.plan import Plan
from cnnbench.numerics.outcome import NodeUse
from cnnbench.version import __version__

Change = Callable[[Any], Any]
SHORTEST_S, LONGEST_S = 1e-9, 1e6  # of a timed call: what lies beyond was not measured
_ABSOLUTE = re.compile(r"(?<![\w./\\-])(?:file://)?/(?!/)(?:[^\s/:'\",;()]+/)+")
_Model = TypeVar("_Model", bound=BaseModel)


class _Environment(BaseModel):
    """What is read of a bundled environment; the rest is only shown."""

    model_config = ConfigDict(extra="allow")
    processors_allowed: list[int] | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    sides: dict[str, dict[str, Any]] | None = None


class _Lock(BaseModel):
    sides: dict[str, dict[str, str]]


class _Numerics(BaseModel):
    nodes: tuple[NodeUse, ...]


@dataclass(frozen=True)
class BundledRun:
    """A run as its bundle holds it.

    Args:
        records: In the plan's order. samples, budgets: by cell id. lock: by side, all distributions with versions.
        attachments: The bytes of networks and weights, by the name that cells have for them, with the member's name.
    """

    manifest: Manifest
    digest: str
    plan: Plan
    records: tuple[Record, ...]
    environment: Mapping[str, Any]
    lock: Mapping[str, Mapping[str, str]]
    summary: Summary
    samples: Mapping[str, tuple[Sample, ...]]
    budgets: Mapping[str, tuple[NodeUse, ...]]
    attachments: Mapping[str, tuple[str, bytes]]


def bundle(folder: Path, path: Path) -> BundleFile:
    """Packs a finished run.

    Args:
        folder: The run's.
        path: The file to write.

    Raises:
        DataError: A file of the run is missing or damaged; a cell has no record, was interrupted or lacks samples.
    """
    store = RunStore.open(folder)
    plan, summary, records = store.read_plan(), store.read_summary(), store.records()
    _check_complete(store, plan, records)
    check_records(plan.cells, records)
    attached = attachments_of(plan.cells)
    names = files_of(plan.suite) | {name: item.name for name, item in attached.items()}
    rename = partial(renamed, names=names)
    members = {item.member: item.data for item in attached.values() if item.data is not None}
    members |= _members(store, plan, records, rename)
    manifest = Manifest(
        cnnbench=__version__,
        suite=plan.suite.name,
        run=store.id,
        finished_utc=summary.finished_utc,
        members=digests(members),
        attachments={item.name: item.member for item in attached.values() if item.data is not None},
        left_out={item.name: item.reason for item in attached.values() if item.data is None},
    )
    return BundleFile(manifest, members, write_bundle(path, manifest, members))


def _check_complete(store: RunStore, plan: Plan, records: Mapping[str, Record]) -> None:
    """Refuses a run that was not finished, or of which something was lost: its bundle would claim less than it did."""
    lost = {cell.id: reason for cell in plan.cells if (reason := _lost(store, records.get(cell.id))) is not None}
    if lost or not records:
        raise DataError(
            f"a run that lacks {len(lost)} of its {len(plan.cells)} cells cannot be bundled",
            where=str(store.folder),
            received="; ".join(f"{name}: {reason}" for name, reason in list(lost.items())[:3]) or "no record at all",
            remedy="--resume it, then bundle it",
        )


def _lost(store: RunStore, record: Record | None) -> str | None:
    if record is None:
        return "the run has no readable record of it"
    if record.status == "interrupted":
        return "it was interrupted"
    found = len(store.read_samples(record.cell.id))
    if record.latency is not None and found != record.latency.samples:
        return f"{found} of its {record.latency.samples} samples are there; remove its record"
    return None


def _members(store: RunStore, plan: Plan, records: Mapping[str, Record], rename: Change) -> dict[str, bytes]:
    plain = rename(plan.model_dump(mode="json"))
    summary = portable(rename(store.read_summary().model_dump(mode="json", exclude={"links"})))
    lock = store.read_lock() or {"head": store.read_environment().get("packages", {})}
    found = {
        "plan.json": _json(plain),
        "suite.resolved.yaml": _yaml(plain["suite"]),
        "environment.json": _json(portable(store.read_environment())),
        "lock.json": _json({"schema_version": 1, "sides": lock}),
        "summary.json": _json(summary),
    }
    if (verdicts := store.read_verdicts()) is not None:
        found[VERDICTS] = _json(portable(rename(verdicts)))
    for name, record in records.items():
        found[f"cells/{name}/record.json"] = _json(_without_paths(rename(record.model_dump(mode="json"))))
        for file in (SAMPLES, NUMERICS):
            path = recorded_file(store.cell_folder(name), file)
            if path is not None:
                found[f"cells/{name}/{file}"] = path.read_bytes()
    return found


def _without_paths(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose prose and settings name no folder of this machine; names of nodes are left alone."""
    observed = {**record["observed"], "notes": portable(record["observed"]["notes"])}
    return {
        **record,
        "reason": portable(record["reason"]),
        "settings": portable(record["settings"]),
        "observed": observed,
    }


def portable(value: Any) -> Any:
    """Plain data in which an absolute path is its last part, so that it says nothing of this machine's folders."""
    if isinstance(value, str):
        return _ABSOLUTE.sub("…/", value)
    if isinstance(value, list):
        return [portable(item) for item in value]
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _yaml(value: Any) -> bytes:
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(value, text)
    return text.getvalue().encode()


def unpack(file: BundleFile, where: str) -> BundledRun:
    """The values that a bundle holds. Raises DataError where one does not fit."""
    members, manifest = file.members, file.manifest

    def parsed(name: str, model: type[_Model]) -> _Model:
        return _parsed(members, name, model, where)

    plan = parsed("plan.json", Plan)
    known = [cell.id for cell in plan.cells if f"cells/{cell.id}/record.json" in members]
    records = tuple(parsed(f"cells/{name}/record.json", Record) for name in known)
    for cell, record in zip(known, records, strict=True):
        if record.cell.id != cell:
            raise DataError("a record is another cell's", where=f"{where}: cells/{cell}", received=record.cell.id)
    environment = parsed("environment.json", _Environment).model_dump(exclude_unset=True)
    attachments = {name: (member, members[member]) for name, member in manifest.attachments.items()}
    return BundledRun(
        manifest,
        file.digest,
        plan,
        records,
        environment,
        parsed("lock.json", _Lock).sides,
        parsed("summary.json", Summary),
        {name: _samples(members, name, where) for name in known},
        {name: _budgets(members, name, where) for name in known},
        attachments,
    )


def _parsed(members: Mapping[str, bytes], name: str, model: type[_Model], where: str) -> _Model:
    if name not in members:
        raise DataError("the bundle lacks a file", where=f"{where}: {name}")
    try:
        return model.model_validate_json(members[name])
    except ValidationError as error:
        raise _unfit(error, f"{where}: {name}") from None


def _unfit(error: ValidationError, where: str) -> DataError:
    return DataError(f"the file cannot be understood: {first_problem(error)}", where=where)


def _samples(members: Mapping[str, bytes], cell: str, where: str) -> tuple[Sample, ...]:
    name = f"cells/{cell}/samples.jsonl"
    try:
        found = tuple(Sample.model_validate_json(line) for line in members.get(name, b"").splitlines() if line)
    except ValidationError as error:
        raise _unfit(error, f"{where}: {name}") from None
    wrong = next((sample for sample in found if not SHORTEST_S < sample.latency_s < LONGEST_S), None)
    if wrong is not None:
        raise DataError("a call cannot take so long", where=f"{where}: {name}", received=f"{wrong.latency_s} s")
    return found


def _budgets(members: Mapping[str, bytes], cell: str, where: str) -> tuple[NodeUse, ...]:
    name = f"cells/{cell}/numerics.json"
    return _parsed(members, name, _Numerics, where).nodes if name in members else ()
