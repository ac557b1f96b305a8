"""Finds plugins and calls their hooks in one safe way: one that goes wrong is named and left out."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from cnnbench import hookspecs
from cnnbench.addresses import without_secrets
from cnnbench.errors import UnavailableError

VARIABLE = "CNNBENCH_PLUGINS"
GROUP = "cnnbench"
BUILT_IN = "cnnbench.builtin"

_LENIENT: ContextVar[bool] = ContextVar("lenient", default=False)

Note = Callable[[str], None]  # takes one sentence for the user: a run's notes, or the standard error
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Found:
    manager: pluggy.PluginManager
    broken: dict[str, str] = field(default_factory=dict)


@cache
def _found() -> _Found:
    """All plugins: the core's own, those named in ``CNNBENCH_PLUGINS``, and the entry points of group ``cnnbench``.

    A named one may stand in the working folder.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    found = _Found(manager)
    named = [name for name in os.environ.get(VARIABLE, "").split(",") if name]
    if named and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # an installed script has its own folder there, a worker none
    for name in (BUILT_IN, *named):
        try:
            manager.register(import_module(name), name)
        except (Exception, SystemExit) as error:  # asked for by name, so going on without it would be wrong
            looked = f"it is looked for in {Path.cwd()} and on PYTHONPATH" if isinstance(error, ImportError) else None
            remedy = looked and f"{looked}; export PYTHONPATH=FOLDER"
            if _LENIENT.get():
                found.broken[name] = f"{error}; {looked}" if looked else str(error)
                continue
            raise UnavailableError(f"plugin module {name!r}: {error}", where=VARIABLE, remedy=remedy) from error
    for entry_point in entry_points(group=GROUP):
        with guarded(lambda reason, point=entry_point: _leave_out(found, point.name, f"{point.value}: {reason}")):  # type: ignore[misc]
            manager.load_setuptools_entrypoints(GROUP, name=entry_point.name)
    _reject_unknown_hooks(found, named)
    return found


def _reject_unknown_hooks(found: _Found, named: Sequence[str]) -> None:
    """Leaves out each plugin that implements a hook that does not exist; one named by the user is an error."""
    while True:
        try:
            return found.manager.check_pending()
        except pluggy.PluginValidationError as error:
            name = found.manager.get_name(error.plugin) or str(error.plugin)
            if name in (BUILT_IN, *named):
                raise UnavailableError(f"a plugin implements a hook that does not exist: {error}") from error
            _leave_out(found, name, str(error))


def plugin_manager() -> pluggy.PluginManager:
    """The manager with every usable plugin registered; plugins are imported when it is first asked for."""
    return _found().manager


def broken_plugins() -> dict[str, str]:
    """The plugins that were left out so far, with the reason."""
    return dict(_found().broken)


@contextlib.contextmanager
def missing_plugins_left_out() -> Iterator[None]:
    """Within it a plugin named in ``CNNBENCH_PLUGINS`` that cannot be imported is left out, and no error."""
    forget_plugins()
    token = _LENIENT.set(True)
    try:
        yield
    finally:
        _LENIENT.reset(token)
        forget_plugins()


def forget_plugins() -> None:
    """Lets the next look-up find plugins anew."""
    _found.cache_clear()


def warn(text: str) -> None:
    """The note of last resort: standard error."""
    print(f"cnnbench: {text}", file=sys.stderr)  # noqa: T201 - standard output is for results


@contextlib.contextmanager
def guarded(failed: Callable[[str], None]) -> Iterator[None]:
    """Runs code of a plugin: whatever it raises, ``SystemExit`` too, becomes a reason and goes no further.

    An interruption by the user passes.

    Args:
        failed: Called with the reason, on one line.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        text = without_secrets(" ".join(str(error).split()))[:1000]
        failed(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def left_out(call: Callable[[], _Result], what: str, note: Note = warn) -> _Result | None:
    """What a value that a plugin gave comes to; None, and a sentence, where it raises.

    Args:
        call: Uses the value: builds its network, computes its metric.
        what: The value, as the sentence begins.
        note: Takes the sentence.
    """
    result = None
    with guarded(lambda reason: note(f"{what} failed and is left out: {reason}")):
        result = call()
    return result  # noqa: RET504 - None where it was guarded


@dataclass(frozen=True)
class Implementation:
    """A plugin's function for a hook.

    Args:
        hook, plugin: Their names.
        function: The function. takes: the names of those of the hook's parameters that it takes.
    """

    hook: str
    plugin: str
    function: Callable[..., Any]
    takes: tuple[str, ...]

    def call(
        self, checked: Callable[[Any], _Result], arguments: Mapping[str, Any] | None = None, note: Note = warn
    ) -> _Result | None:
        """What ``checked`` makes of the function's result.

        Args:
            checked: Raises TypeError for a result that the hook does not allow.
            arguments: Those of the hook, by name.
            note: Called once with the plugin's name where either raises. The plugin is left out from then on.

        Returns:
            None where either raised.
        """
        result = None
        with guarded(lambda reason: _leave_out(_found(), self.plugin, f"{self.hook}: {reason}", note)):
            result = checked(self.function(*(arguments[name] for name in self.takes) if arguments else ()))
        return result  # noqa: RET504 - None where it was guarded


def _leave_out(found: _Found, plugin: str, reason: str, note: Note = warn) -> None:
    found.broken[plugin] = reason
    if plugin == BUILT_IN:  # the core is not left out as a whole for one hook of it
        note(f"{reason} (of cnnbench itself)")
        return
    if found.manager.has_plugin(plugin):
        with contextlib.suppress(Exception):  # one that was refused half-way may not be known to every hook
            found.manager.unregister(name=plugin)
    note(f"plugin {plugin!r} is broken and left out: {reason}")


def implementations(hook: str) -> list[Implementation]:
    """Every plugin's implementation of a hook, the core's own first."""
    return [
        Implementation(hook, found.plugin_name, found.function, found.argnames)
        for found in getattr(plugin_manager().hook, hook).get_hookimpls()
    ]
