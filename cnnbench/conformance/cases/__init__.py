"""Shared cases: every layer kind in the configurations on which frameworks are known to disagree.

One module a family, discovered: ``CASES`` maps ``<kind>/<what is special about it>`` to a ``LayerCase``. A kind that
has none there, as a plugin's, has the case ``<kind>/example``, made from the example that it declares.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from cnnbench.conformance.cases.case import Draw, LayerCase, side_by_side
from cnnbench.errors import SpecError
from cnnbench.registry import layer_kinds, plugin_manager
from cnnbench.spec.layers import Layer

__all__ = ["Draw", "LayerCase", "layer_cases", "side_by_side"]


def layer_cases() -> dict[str, LayerCase]:
    """Every case by name: ``<kind>/<what is special about it>``, those of plugins' kinds included.

    Raises:
        SpecError: A kind does not take the example that it declares.
    """
    return _written() | _made(tuple(_offered_kinds()))


def _offered_kinds() -> Iterator[type[Layer]]:
    """The kinds of the core and of plugins, and not those of whoever else has imported the core."""
    plugins = plugin_manager().get_plugins()
    packages = {getattr(item, "__name__", type(item).__module__).partition(".")[0] for item in plugins} - {"cnnbench"}
    for cls in layer_kinds().values():
        if cls.is_shipped or cls.__module__.partition(".")[0] in packages:
            yield cls


@cache
def _made(kinds: tuple[type[Layer], ...]) -> dict[str, LayerCase]:
    """A case from the example of each of these kinds that has no case written by hand."""
    known = {case.layer.kind for case in _written().values()}
    made = {}
    for cls in kinds:
        if cls.kind not in known:
            try:
                made[f"{cls.kind}/example"] = LayerCase.of_example(cls)
            except SpecError:
                if cls.example is not Layer.example:  # one that declares none need not take the default
                    raise
    return made


@cache
def _written() -> dict[str, LayerCase]:
    """The cases that are written by hand."""
    found: dict[str, LayerCase] = {}
    for module in iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{module.name}"), "CASES", {})
    return found
