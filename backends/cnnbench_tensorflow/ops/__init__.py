"""TensorFlow's function for each layer kind, one module for each family of layers.

Images are always channels-last inside (N, *spatial, C), the only layout in which TensorFlow has every CPU kernel.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from cnnbench.execution.operations import Operations


def operations() -> Operations:
    """A new registry with every op of this backend: each module of this package that has ``register``."""
    table = Operations("tensorflow")
    for family in iter_modules(__path__):
        module = import_module(f"{__name__}.{family.name}")
        if hasattr(module, "register"):
            module.register(table)
    return table


def for_xla(table: Operations) -> Operations:
    """The table with what XLA needs otherwise: what each module of this package that has ``for_xla`` says."""
    for family in iter_modules(__path__):
        module = import_module(f"{__name__}.{family.name}")
        if hasattr(module, "for_xla"):
            table = module.for_xla(table)
    return table
