"""Finds plugins (entry points of group ``cnnbench``, and modules named in ``CNNBENCH_PLUGINS``) when first asked."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from cnnbench import hookspecs
from cnnbench.errors import UnavailableError, did_you_mean

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin

VARIABLE = "CNNBENCH_PLUGINS"
GROUP = "cnnbench"
BUILT_IN = ("cnnbench.builtin",)

_broken: dict[str, str] = {}
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


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
        except (Exception, SystemExit) as error:
            # One broken distribution must not take the others along; it is named wherever plugins are listed.
            _leave_out(manager, entry_point.name, f"{entry_point.value}: {type(error).__name__}: {error}")
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise UnavailableError(f"a plugin implements a hook that does not exist: {error}") from error
    return manager


def _leave_out(manager: pluggy.PluginManager, name: str, reason: str) -> None:
    _broken[name] = reason
    if manager.has_plugin(name):
        with contextlib.suppress(Exception):  # one that was refused half-way may not be known to every hook
            manager.unregister(name=name)
    print(f"cnnbench: plugin {name!r} is broken and left out: {reason}", file=sys.stderr)  # noqa: T201 - before recorders


def gathered(hook: str, kind: type[_Item]) -> list[Sequence[_Item]]:
    """What each plugin gives for a hook without arguments, the last registered first.

    A plugin that raises, or gives anything but a sequence of ``kind``, is left out from then on, and named.
    """

    def checked(given: Any) -> Sequence[_Item]:
        items = list(given)
        strange = [item for item in items if not isinstance(item, kind)]
        if strange:
            raise TypeError(f"{strange[0]!r:.80} is no {kind.__name__}")
        return items

    return _answers(hook, checked)


def gathered_mappings(hook: str) -> list[Mapping[str, Any]]:
    """As ``gathered``, for a hook whose answer is a mapping."""
    return _answers(hook, lambda given: dict(given))


def _answers(hook: str, checked: Callable[[Any], _Answer]) -> list[_Answer]:
    manager = plugin_manager()
    found: list[_Answer] = []
    for implementation in reversed(getattr(manager.hook, hook).get_hookimpls()):
        try:
            found.append(checked(implementation.function()))
        except (Exception, SystemExit) as error:
            _leave_out(manager, implementation.plugin_name, f"{hook}: {type(error).__name__}: {error}")
    return found


def broken_plugins() -> dict[str, str]:
    """The entry points that could not be loaded, with the reason."""
    plugin_manager()
    return dict(_broken)


def backend_plugins() -> dict[str, BackendPlugin]:
    """Every known backend by name, available or not."""
    found = [plugin for group in _answers("cnnbench_backends", _told_of_backends) for plugin in group]
    return {plugin.name: plugin for plugin in sorted(found, key=lambda plugin: plugin.name)}


def _told_of_backends(given: Any) -> list[BackendPlugin]:
    """Checked by what is used of them: the rooms that have the type lie above this one."""
    plugins = list(given)
    for plugin in plugins:
        if not (isinstance(getattr(plugin, "name", None), str) and callable(getattr(plugin, "load", None))):
            raise TypeError(f"{plugin!r:.80} is no BackendPlugin")
    return plugins


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
