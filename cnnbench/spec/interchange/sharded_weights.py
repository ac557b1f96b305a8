"""Weights in several files with an index that says which array is in which (``model.safetensors.index.json``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.errors import DataError
from cnnbench.spec.interchange.fitting import FileArrays
from cnnbench.spec.interchange.pointers import refuse_pointer

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array

INDEX = ".index.json"
LARGEST_INDEX_BYTES = 64 << 20


def read_sharded(path: Path, read: Callable[[Path], Mapping[str, Array]]) -> FileArrays:
    """The arrays of all files that an index names, in the order of the index.

    Args:
        path: The index, whose ``weight_map`` says the file of each array; the files stand beside it.
        read: Reads one of the files.

    Raises:
        DataError: The index or one of its files is missing or damaged, or an array is not where the index says.
    """
    places = _places(path)
    held: dict[str, Mapping[str, Array]] = {}
    for file in dict.fromkeys(places.values()):
        try:
            refuse_pointer(path.parent / file)
            held[file] = read(path.parent / file)
        except DataError as error:
            raise error.at(str(path)) from None
    missing = [f"{name} in {file}" for name, file in places.items() if name not in held[file]]
    if missing:
        raise DataError(
            "arrays are not in the files that the index names",
            where=str(path),
            received=", ".join(missing[:8]) + (f", and {len(missing) - 8} more" if len(missing) > 8 else ""),
            remedy="fetch the index and its files anew, of one version",
        )
    notes = [note for shard in held.values() if isinstance(shard, FileArrays) for note in shard.notes]
    return FileArrays({name: held[file][name] for name, file in places.items()}, notes)


def _places(path: Path) -> dict[str, str]:
    """The file of each array, which lies in the index's own folder."""
    try:
        if path.stat().st_size > LARGEST_INDEX_BYTES:
            raise ValueError(f"of more than {LARGEST_INDEX_BYTES} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        places = {str(name): str(file) for name, file in found["weight_map"].items()}
    except FileNotFoundError:
        raise DataError("the index of weights does not exist", where=str(path)) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            "the file is no index of weights",
            where=str(path),
            received=f"{type(error).__name__}: {error}",
            expected='{"weight_map": {array: file, ...}}',
        ) from None
    outside = [file for file in places.values() if Path(file).name != file or file in ("", ".", "..")]
    if outside or not places:
        raise DataError(
            "the index must name files of its own folder",
            where=str(path),
            received=outside[0] if outside else "no files",
        )
    return places
