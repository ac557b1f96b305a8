"""Every fault by name; a module for each family of layers says what its faults are."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.numerics.faults.engine.base import Fault

FAMILIES = "cnnbench.numerics.faults"


@cache
def faults() -> dict[str, Fault]:
    """All faults by name, sorted: ``FAULTS`` of each module in the folder above this one."""
    folder = Path(__file__).parent.parent
    found = [
        item
        for module in iter_modules([str(folder)])
        if not module.ispkg
        for item in import_module(f"{FAMILIES}.{module.name}").FAULTS
    ]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}


def fault(name: str) -> Fault:
    """The fault of that name. Raises SuiteError with the nearest name where there is none."""
    if name not in faults():
        raise SuiteError(f"unknown fault {name!r}", remedy=did_you_mean(name, faults()))
    return faults()[name]
