"""Files of a run: each is written whole or not at all, and whatever is wrong with one that is read is a DataError."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cnnbench.addresses import without_secrets
from cnnbench.errors import DataError, StorageError

_Model = TypeVar("_Model", bound=BaseModel)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader, or a machine that loses power, finds the old one or the whole new one.

    Text is written as UTF-8, without the secrets of addresses. Raises StorageError where it cannot be written.
    """
    data = without_secrets(content).encode(errors="replace") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data)
    except OSError as error:
        raise StorageError(
            f"the file cannot be written: {error.strerror or error}",
            where=str(path),
            remedy="what was written before is kept: make room, or the folder writable, then --resume the run",
        ) from error


def _write(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: BaseModel | Mapping[str, Any] | Sequence[Any]) -> str:
    """Indented JSON with a final newline."""
    if isinstance(value, BaseModel):
        return value.model_dump_json(indent=2) + "\n"
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def read_model(path: Path, model: type[_Model]) -> _Model:
    """The value in a JSON file. Raises DataError where it does not fit the model."""
    text = path.read_text(errors="replace")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"the file cannot be read: {first_problem(error)}", where=str(path)) from None


def first_problem(error: ValidationError) -> str:
    """What a model refuses first, with its place."""
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])
