"""The JAX function of each layer kind, by family; importing this package registers all of them."""

from importlib import import_module
from pkgutil import iter_modules

from cnnbench_jax.ops.registry import OPERATIONS

for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

__all__ = ["OPERATIONS"]
