"""Pointers of Git LFS, which a clone without it leaves in the place of large files."""

from __future__ import annotations

from pathlib import Path

from cnnbench.errors import DataError

_START = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Raises DataError where a file says where its content is; all others are left to their reader."""
    try:
        with path.open("rb") as file:
            first = file.read(len(_START))
    except OSError:
        return
    if first == _START:
        raise DataError(
            "the file is a pointer of Git LFS",
            where=str(path),
            received="the address of the file's content",
            expected="the content",
            remedy="git lfs pull, in the folder of that repository",
        )
