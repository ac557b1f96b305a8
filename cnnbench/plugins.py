"""Finds plugins (entry points of group ``cnnbench``, and modules named in ``CNNBENCH_PLUGINS``) when first asked."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import pluggy

from cnnbench import hookspecs
from cnnbench.errors import UnavailableError, did_you_mean

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin

VARIABLE = "CNNBENCH_PLUGINS"
BUILT_IN = ("cnnbench.builtin",)


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
    manager.load_setuptools_entrypoints("cnnbench")
    manager.check_pending()
    return manager


def backend_plugins() -> dict[str, BackendPlugin]:
    """Every known backend by name, available or not."""
    found = [plugin for group in plugin_manager().hook.cnnbench_backends() for plugin in group]
    return {plugin.name: plugin for plugin in sorted(found, key=lambda plugin: plugin.name)}


def backend_plugin(name: str) -> BackendPlugin:
    """The plugin of that name; raises UnavailableError with the nearest name where there is none."""
    plugins = backend_plugins()
    if name not in plugins:
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
