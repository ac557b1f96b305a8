"""Writes each layer kind as ONNX nodes; importing this package registers all ops.

Most kinds are written as ``cnnbench export`` writes them. The files here have those for which ONNX Runtime needs other
operators, because its own loses digits or refuses, and what it does not do.
"""

from importlib import import_module
from pkgutil import iter_modules

from cnnbench_onnxruntime.ops.registry import OPERATIONS

for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

__all__ = ["OPERATIONS"]
