"""Finds the run that a caller means: its result, its folder, its id, a suite's name, or ``latest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from cnnbench.errors import DataError, SuiteError, did_you_mean
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore, runs

if TYPE_CHECKING:
    from cnnbench.harness.run.summary import Summary


class HasFolder(Protocol):
    """What a run gave, which says where it lies: a ``RunResult``, an ``ABResult``."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        ...


RunLike: TypeAlias = "HasFolder | Path | str"
"""A run: what it gave, its folder, its id, a suite's name (its newest run), or ``latest``."""


def find_run(run: RunLike, root: Path | str = DEFAULT_ROOT) -> Path:
    """The folder of a run.

    Args:
        run: What the caller means.
        root: Where runs' folders lie.

    Raises:
        SuiteError: There is none, with the nearest name.
    """
    if not isinstance(run, Path | str):
        return run.folder
    if (Path(run) / "cells").is_dir():
        return Path(run)
    text, known = str(run), runs(root)
    named = [folder for folder in known if text in ("latest", folder.name, folder.parent.name)]
    named = named or [folder for folder in known if RunStore(folder).id == text]
    if named:
        return named[-1]
    names = {name for folder in known for name in (folder.name, folder.parent.name)}
    remedy = did_you_mean(text, names) if names else f"there is no run in {root}: cnnbench run SUITE"
    raise SuiteError("there is no such run", where=str(root), received=text, remedy=remedy)


def summary_of(folder: Path) -> Summary | None:
    """A run's summary; None where it did not get so far or cannot be read."""
    try:
        return RunStore.open(folder).read_summary()
    except DataError:
        return None
