"""Files of a run: each is written whole or not at all, and whatever is wrong with one that is read is a DataError."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

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
            remedy="make room, make the folder writable, or name another place",
        ) from error


def check_writable(path: Path, option: str | None = None) -> None:
    """Refuses a file that could not be written, before the work is done that would be written there.

    Args:
        path: The file; its folders need not exist.
        option: That named it.

    Raises:
        StorageError: A folder stands there, a file stands where a folder should, or the folder cannot be written.
    """
    with _refusing(path, option):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _write_nothing(path.parent)
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that is too long


def check_folder_writable(path: Path, option: str | None = None) -> None:
    """As ``check_writable``, of files in a folder.

    Args:
        path: The folder, which need not exist.
        option: That named it.
    """
    with _refusing(path, option):
        _write_nothing(path)


@contextlib.contextmanager
def _refusing(path: Path, option: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"nothing can be written there: {error.strerror or error}",
            where=f"{option} {path}" if option else str(path),
            remedy="make room, make the folder writable, or name another place",
        ) from None


def _write_nothing(folder: Path) -> None:
    """Makes a file without a name in a folder, or in the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def _write(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=".partial-"
    )  # its own name may be as long as names can be
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
    """Indented JSON with a final newline; what is no UTF-8 in names of files is left to whoever writes it."""
    if isinstance(value, BaseModel):
        try:
            return value.model_dump_json(indent=2) + "\n"
        except PydanticSerializationError:
            return json.dumps(value.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_model(path: Path, model: type[_Model], content: Any = None) -> _Model:
    """The value in a JSON file.

    Args:
        path: The file.
        model: What it holds.
        content: The file's content, where it is at hand.

    Raises:
        DataError: It does not fit the model.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if content is None else json.dumps(content)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"the file cannot be read: {first_problem(error)}", where=str(path)) from None


def first_problem(error: ValidationError) -> str:
    """What a model refuses first, with its place."""
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])
