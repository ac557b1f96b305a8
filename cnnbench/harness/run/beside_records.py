"""The files beside a cell's record, such as its timed calls: each is read only where it is the recorded one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from cnnbench.errors import DataError
from cnnbench.harness.passes.findings import Parts, Sample
from cnnbench.harness.passes.training import EXAMPLES_FILE
from cnnbench.harness.run.files import first_problem, to_json, write_atomically
from cnnbench.harness.run.json_text import read_json
from cnnbench.harness.run.record import SCHEMA_VERSION
from cnnbench.numerics.outcome import NodeUse

RECORD, SAMPLES, NUMERICS = "record.json", "samples.jsonl", "numerics.json"


def write_files(folder: Path, parts: Parts) -> dict[str, str]:
    """Writes what lies beside a record; its digests by the name of the file, for the record.

    Args:
        folder: The cell's.
        parts: All that was found of it. Examples of its training are there already.
    """
    found = {}
    if parts.samples:
        found[SAMPLES] = write_samples(folder, parts.samples)
    if parts.checks is not None:
        found[NUMERICS] = write_numerics(folder, [use for item in parts.checks.outcomes for use in item.nodes])
    if parts.training is not None and parts.training.examples is not None:
        found[EXAMPLES_FILE] = parts.training.examples
    return found


def write_samples(folder: Path, samples: Iterable[Sample]) -> str:
    """``samples.jsonl``, one call a line; its digest."""
    return _written(folder / SAMPLES, "".join(sample.model_dump_json() + "\n" for sample in samples))


def write_numerics(folder: Path, budgets: Sequence[NodeUse]) -> str:
    """``numerics.json``: the use of the error budget by node; its digest."""
    content = {"schema_version": SCHEMA_VERSION, "nodes": [item.model_dump(mode="json") for item in budgets]}
    return _written(folder / NUMERICS, to_json(content))


def _written(path: Path, text: str) -> str:
    write_atomically(path, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded_file(folder: Path, name: str) -> Path | None:
    """A file beside a cell's record; None where the record has none of that name, as one of earlier, other work.

    A record of an old version names no files: what lies there is taken for its.

    Args:
        folder: The cell's.
        name: Of the file.

    Raises:
        DataError: It is another than the one that was recorded.
    """
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else None
    known = record.get("files") if isinstance(record, dict) else None
    return known_file(folder / name, known if isinstance(known, dict) else None)


def known_file(path: Path, known: Mapping[str, str] | None) -> Path | None:
    """As ``recorded_file``, of the digests that a record names.

    Args:
        path: Of the file.
        known: By name; None of an old version's record.
    """
    if not path.is_file() or (known is not None and path.name not in known):
        return None
    if known is not None and hashlib.sha256(path.read_bytes()).hexdigest() != known[path.name]:
        remedy = "run the cell again: remove its record, then --resume the run"
        raise DataError("the file was changed after its record was written", where=str(path), remedy=remedy)
    return path


def read_samples(folder: Path) -> list[Sample]:
    """The timed calls of a cell; [] where it was not timed. Raises DataError."""
    path = recorded_file(folder, SAMPLES)
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [Sample.model_validate_json(line) for line in lines if line]
    except ValidationError as error:
        raise DataError(f"a sample cannot be read: {first_problem(error)}", where=str(path)) from None


def read_numerics(folder: Path) -> list[NodeUse]:
    """The use of the error budget by node; [] where there was no local check. Raises DataError."""
    path = recorded_file(folder, NUMERICS)
    if path is None:
        return []
    try:
        return [NodeUse.model_validate(item) for item in read_json(path)["nodes"]]
    except (ValidationError, TypeError, KeyError) as error:
        raise DataError(f"the node budgets cannot be read: {error}", where=str(path)) from None
