"""Reading a file once, for as long as it stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST_FILES = 32


def once_per_file(load: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path, P], T]:
    """``load``, whose results are kept until the file at its first argument is another.

    Inode, size and time of change tell files apart; the further arguments must be hashable. A file to which this one
    only refers, such as ONNX's external data, is not looked at.
    """

    @lru_cache(maxsize=MOST_FILES)
    def kept(path: Path, stamp: tuple[int, ...], *args: P.args, **kwargs: P.kwargs) -> T:
        return load(path, *args, **kwargs)

    @wraps(load)
    def loaded(path: Path, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            found = path.stat()
        except OSError:
            return load(path, *args, **kwargs)  # which says what is wrong with it
        return kept(path, (found.st_ino, found.st_size, found.st_mtime_ns), *args, **kwargs)  # type: ignore[arg-type]

    return loaded
