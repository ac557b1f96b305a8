"""Every fault by name; the modules beside this one say what each of them is."""

from __future__ import annotations

from functools import cache

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.numerics.faults.base import Fault


@cache
def faults() -> dict[str, Fault]:
    """All faults by name, sorted."""
    from cnnbench.numerics.faults import convolutions, layers, normalizations, terms

    found = [*convolutions.FAULTS, *normalizations.FAULTS, *layers.FAULTS, *terms.FAULTS]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}


def fault(name: str) -> Fault:
    """The fault of that name. Raises SuiteError with the nearest name where there is none."""
    if name not in faults():
        raise SuiteError(f"unknown fault {name!r}", remedy=did_you_mean(name, faults()))
    return faults()[name]
