"""The reference ops: for each layer kind a plain forward and backward function, readable as its definition."""

from importlib import import_module
from pkgutil import iter_modules

from cnnbench_numpy.ops.registry import REFERENCE

for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

__all__ = ["REFERENCE"]
