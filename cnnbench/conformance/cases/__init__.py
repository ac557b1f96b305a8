"""Shared cases: every layer kind in the configurations on which frameworks are known to disagree.

One module a family, discovered: ``CASES`` maps ``<kind>/<what is special about it>`` to a ``LayerCase``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from cnnbench.conformance.cases.case import Draw, LayerCase, side_by_side

__all__ = ["Draw", "LayerCase", "layer_cases", "side_by_side"]


@cache
def layer_cases() -> dict[str, LayerCase]:
    """Every case by name: ``<kind>/<what is special about it>``."""
    found: dict[str, LayerCase] = {}
    for module in iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{module.name}"), "CASES", {})
    return found
