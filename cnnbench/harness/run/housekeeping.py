"""What nobody needs any more: scratch folders of dead processes, runs without a result, old runs, cached oracles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cnnbench.errors import StorageError, SuiteError
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore, runs
from cnnbench.harness.worker.scratch import abandoned
from cnnbench.numerics.cache import filled_by, is_partial

GONE = ".gone-"


@dataclass(frozen=True)
class Leftover:
    """A folder or file that can go, with the reason and its size."""

    path: Path
    why: str
    size_bytes: int


def leftovers(
    root: Path = DEFAULT_ROOT, *, keep: int | None = None, cache: bool = False, scratch: Path | None = None
) -> list[Leftover]:
    """Everything that can go; a run that another process holds is never among it.

    Args:
        root: Where runs' folders lie.
        keep: The newest runs of each suite that stay; None for all that measured something.
        cache: Whether all cached oracles go, too: they are computed again when needed.
        scratch: Where scratch folders lie; the system's folder for temporary files where None.
    """
    from cnnbench.numerics.cache import Cache, size_of

    found = [(path, "its process is gone") for path in abandoned(scratch)]
    found += [(path, "half removed") for path in sorted(root.glob(f"{GONE}*"))]
    found += _of_runs(root, keep)
    found += _of_cache(Cache.of_user().folder, whole=cache)
    return [Leftover(path, why, size_of(path)) for path, why in found]


def remove(found: list[Leftover]) -> list[Leftover]:
    """Removes them, and gives those that are gone; a run that is in use by now stays.

    A run is moved out of the way first, so that none is ever half there.
    """
    from cnnbench.numerics.cache import remove as removed

    gone = []
    for item in found:
        path = item.path
        if (path / "cells").is_dir():
            try:
                with RunStore(path).locked():
                    path = path.rename(path.parent.parent / f"{GONE}{path.name}")
            except (SuiteError, StorageError, OSError):
                continue
        removed(path)
        if not path.exists():
            gone.append(item)
    return gone


def _of_runs(root: Path, keep: int | None) -> Iterator[tuple[Path, str]]:
    suites: dict[str, list[Path]] = {}
    for folder in runs(root):
        begun = RunStore(folder).begun  # else it is being made at this moment
        if _in_use(folder):
            continue
        if not any((folder / "cells").rglob("*.json")):
            if begun:
                yield folder, "nothing was measured"
        else:
            suites.setdefault(folder.parent.name, []).append(folder)
    if keep is not None:
        for suite, folders in suites.items():
            for folder in folders[: max(0, len(folders) - keep)]:
                yield folder, f"{suite} has {keep} newer runs"


def _in_use(folder: Path) -> bool:
    try:
        with RunStore(folder).locked():
            return False
    except (SuiteError, StorageError, OSError):  # held, or not ours to write to
        return True


def _of_cache(folder: Path, *, whole: bool) -> Iterator[tuple[Path, str]]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        owner = filled_by(path)
        if owner is not None and not psutil.pid_exists(owner):
            yield path, "half an oracle, whose process is gone"
        elif whole and not is_partial(path):
            yield path, "a cached oracle"
