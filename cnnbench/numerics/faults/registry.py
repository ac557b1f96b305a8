"""Every fault by name; the modules beside this one say what each of them is."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.numerics.faults.base import Fault


@cache
def faults() -> dict[str, Fault]:
    """All faults by name, sorted: ``FAULTS`` of each module beside this one."""
    import cnnbench.numerics.faults as package

    found = [
        item
        for module in iter_modules(package.__path__)
        for item in getattr(import_module(f"{package.__name__}.{module.name}"), "FAULTS", ())
    ]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}


def fault(name: str) -> Fault:
    """The fault of that name. Raises SuiteError with the nearest name where there is none."""
    if name not in faults():
        raise SuiteError(f"unknown fault {name!r}", remedy=did_you_mean(name, faults()))
    return faults()[name]
