"""Finds plugins (entry points of group ``cnnbench``, and modules named in ``CNNBENCH_PLUGINS``) when first asked."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pluggy

from cnnbench import hookspecs
from cnnbench.errors import UnavailableError, did_you_mean

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin

VARIABLE = "CNNBENCH_PLUGINS"
GROUP = "cnnbench"
BUILT_IN = ("cnnbench.builtin",)

_broken: dict[str, str] = {}


@cache
def plugin_manager() -> pluggy.PluginManager:
    """The manager with all plugins registered. An implementation of an unknown hook is rejected."""
    manager = pluggy.PluginManager("cnnbench")
    manager.add_hookspecs(hookspecs)
    for name in (*BUILT_IN, *filter(None, os.environ.get(VARIABLE, "").split(","))):
        try:
            manager.register(import_module(name), name)
        except ImportError as error:
            raise UnavailableError(f"plugin module {name!r} cannot be imported: {error}", where=VARIABLE) from error
    for entry_point in entry_points(group=GROUP):
        try:
            manager.load_setuptools_entrypoints(GROUP, name=entry_point.name)
        except Exception as error:
            # One broken distribution must not take the others along; it is named wherever plugins are listed.
            _broken[entry_point.name] = f"{entry_point.value}: {type(error).__name__}: {error}"
            print(  # noqa: T201 - to stderr, before any recorder exists
                f"cnnbench: plugin {entry_point.name!r} is broken and left out: {error}",
                file=sys.stderr,
            )
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise UnavailableError(f"a plugin implements a hook that does not exist: {error}") from error
    return manager


def broken_plugins() -> dict[str, str]:
    """The entry points that could not be loaded, with the reason."""
    plugin_manager()
    return dict(_broken)


def backend_plugins() -> dict[str, BackendPlugin]:
    """Every known backend by name, available or not."""
    found = [plugin for group in plugin_manager().hook.cnnbench_backends() for plugin in group]
    return {plugin.name: plugin for plugin in sorted(found, key=lambda plugin: plugin.name)}


def backend_plugin(name: str) -> BackendPlugin:
    """The plugin of that name; raises UnavailableError with the nearest name where there is none."""
    plugins = backend_plugins()
    if name not in plugins:
        if name in broken_plugins():
            raise UnavailableError(f"backend {name!r} cannot be used: its plugin is broken", received=_broken[name])
        raise UnavailableError(f"unknown backend {name!r}", remedy=did_you_mean(name, plugins))
    return plugins[name]


def load_backend(name: str) -> Backend:
    """Imports a backend, with the ops that other plugins add to it. Raises UnavailableError with the reason."""
    plugin = backend_plugin(name)
    reason = plugin.unavailable()
    if reason is not None:
        raise UnavailableError(f"backend {name!r} cannot be used: {reason}")
    backend = plugin.load()
    plugin_manager().hook.cnnbench_operations(backend=name, operations=backend.operations)
    return backend
