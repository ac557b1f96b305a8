"""Which frameworks have been started in a process, and not only imported: their threads cannot be set any more."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType


def started_frameworks(modules: Mapping[str, ModuleType]) -> list[str]:
    """The frameworks among a process's modules that hold a device.

    Args:
        modules: ``sys.modules``, which must not grow by asking.
    """
    found = []
    eager, bridge = (modules.get(name) for name in ("tensorflow.python.eager.context", "jax._src.xla_bridge"))
    if eager is not None and getattr(eager.context(), "_initialized", False):
        found.append("tensorflow")
    if bridge is not None and getattr(bridge, "_backends", {}):
        found.append("jax")
    return found
