"""The suites that ship with cnnbench: found by name from any folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cnnbench.errors import SuiteError, did_you_mean

SUFFIXES = (".yaml", ".yml")


def shipped_suites() -> dict[str, Path]:
    """The files of the suites that ship, by name: ``resnet``, ``vgg`` …"""
    package = Path(__file__).parents[2]
    folder = package / "suites"  # of a wheel
    if not folder.is_dir() and (package.parent / "pyproject.toml").is_file():
        folder = package.parent / "suites"  # of a checkout
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def suite_file(name: str | Path) -> Path:
    """The file that a caller means: the one of that path, else the suite that ships under that name.

    Args:
        name: ``suites/mine.yaml``, or ``resnet``.

    Raises:
        SuiteError: There is neither, with the nearest name.
    """
    path = Path(name)
    with contextlib.suppress(OSError):  # a name that is too long; whoever reads the file says so
        if path.is_file():
            return path
    known = shipped_suites()
    if str(name) in known:
        return known[str(name)]
    if path.stem in known and path.suffix in SUFFIXES and not path.exists():
        remedy = f"the suite that ships is run by its name: {path.stem}"
        raise SuiteError("there is no such suite file", where=str(path), remedy=remedy)
    if path.suffix or len(path.parts) != 1:
        return path
    remedy = did_you_mean(path.name, known)
    raise SuiteError("there is no such suite", received=str(name), expected="a suite's file or name", remedy=remedy)
