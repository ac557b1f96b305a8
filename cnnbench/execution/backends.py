"""Backends by name: what plugins say of them, and the loaded ones with the ops that other plugins add."""

from __future__ import annotations

from cnnbench import registry
from cnnbench.errors import SuiteError, UnavailableError, did_you_mean
from cnnbench.execution.contract import Backend, BackendPlugin
from cnnbench.execution.operations import Operations


def backend_plugins() -> dict[str, BackendPlugin]:
    """Every known backend by name in alphabetical order, available or not."""
    return dict(sorted(registry.offered("cnnbench_backends", BackendPlugin).items()))


def backend_plugin(name: str) -> BackendPlugin:
    """The plugin of that name; raises UnavailableError with the nearest name where there is none."""
    plugins = backend_plugins()
    if name in plugins:
        return plugins[name]
    broken = registry.broken_plugins()
    if name in broken:
        raise UnavailableError(f"backend {name!r} cannot be used: its plugin is broken", received=broken[name])
    raise UnavailableError(f"unknown backend {name!r}", remedy=did_you_mean(name, plugins))


def backend_in_mode(text: str, *, native: bool = False) -> tuple[BackendPlugin, str]:
    """The backend and the mode that ``NAME`` or ``NAME:MODE`` means: its default mode where none is named.

    Args:
        text: What was given.
        native: Whether it may be a mode that runs the user's own program.

    Raises:
        UnavailableError: An unknown backend. SuiteError: a mode that it has not, or that is not possible here.
    """
    name, _, mode = text.partition(":")
    plugin = backend_plugin(name)
    if mode in plugin.native_modes and not native:
        raise SuiteError(f"{mode} is a mode of verify, predict and suites only", expected=" or ".join(plugin.modes))
    known = (*plugin.modes, *plugin.native_modes)
    if mode and mode not in known:
        raise SuiteError(f"{name} has no mode {mode!r}", remedy=did_you_mean(mode, known))
    return plugin, mode or plugin.modes[0]


def load_backend(name: str) -> Backend:
    """Imports a backend, with the ops that other plugins add to it. Raises UnavailableError with the reason."""
    plugin = backend_plugin(name)
    reason = plugin.unavailable()
    if reason is not None:
        raise UnavailableError(f"backend {name!r} cannot be used: {reason}")
    backend = plugin.load()
    for implementation in registry.implementations("cnnbench_operations"):
        extended = Operations(name, backend.operations)  # so that a plugin that raises half-way has added nothing
        if implementation.call(lambda given: True, {"backend": name, "operations": extended}):
            before = backend.operations
            added = (kind for kind in extended if kind not in before or extended[kind] is not before[kind])
            extended.givers.update(dict.fromkeys(added, implementation))
            backend.operations = extended
    return backend
