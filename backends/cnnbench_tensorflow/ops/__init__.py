"""The TensorFlow function of each layer kind, by family; importing this package registers all of them.

Images are always channels-last inside (N, *spatial, C), the only layout in which TensorFlow has every CPU kernel.
"""

from importlib import import_module
from pkgutil import iter_modules

from cnnbench_tensorflow.ops.registry import OPERATIONS, XLA

for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

__all__ = ["OPERATIONS", "XLA"]
