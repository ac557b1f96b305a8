"""Finds plugins, calls their hooks in one safe way, and looks up what they offer by name."""

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
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pluggy

from cnnbench import hookspecs
from cnnbench.errors import DataError, SpecError, UnavailableError, did_you_mean

if TYPE_CHECKING:
    from cnnbench.spec.architectures import Architecture
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.interchange.weight_files import WeightReader
    from cnnbench.spec.layers import Layer, Shape
    from cnnbench.spec.weights import Array

VARIABLE = "CNNBENCH_PLUGINS"
GROUP = "cnnbench"
BUILT_IN = "cnnbench.builtin"

_LENIENT: ContextVar[bool] = ContextVar("lenient", default=False)

Note = Callable[[str], None]  # takes one sentence for the user: a run's notes, or the standard error


class Named(Protocol):
    """What plugins offer under a name, unique among all that is offered to the same hook."""

    @property
    def name(self) -> str: ...


_Result = TypeVar("_Result")
_Item = TypeVar("_Item", bound=Named)


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
        text = " ".join(str(error).split())[:1000]
        failed(f"{type(error).__name__}: {text}" if text else type(error).__name__)


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


def offered(hook: str, kind: type[_Item], note: Note = warn) -> dict[str, _Item]:
    """What all plugins offer to a hook whose result is a sequence of named values.

    A plugin that raises, gives anything but ``kind``, or takes a name that an earlier plugin has, is left out.

    Args:
        hook: A hook without parameters.
        kind: The type of the values.
        note: As in ``Implementation.call``.

    Returns:
        The values by name, the core's own first.
    """
    taken: dict[str, _Item] = {}

    def checked(given: Any) -> dict[str, _Item]:
        items = list(given)
        for number, item in enumerate(items):
            if not isinstance(item, kind):
                raise TypeError(f"{item!r:.80} is no {kind.__name__}")
            if item.name in taken or any(item.name == other.name for other in items[:number]):
                raise ValueError(f"the name {item.name!r} is taken")
        return {item.name: item for item in items}

    for implementation in implementations(hook):
        taken |= implementation.call(checked, note=note) or {}
    return taken


def architectures() -> dict[str, Architecture]:
    """Every architecture by name: the shipped ones first, then those of other plugins."""
    from cnnbench.spec.architectures import Architecture

    return offered("cnnbench_architectures", Architecture)


def architecture(name: str) -> Architecture:
    """The architecture of that name; raises SpecError with the nearest name where there is none."""
    known = architectures()
    if name not in known:
        raise SpecError(f"unknown architecture {name!r}", remedy=did_you_mean(name, known))
    return known[name]


def build(name: str, *, image: Shape | None = None, num_classes: int | None = None) -> Graph:
    """The graph of a named network.

    Args:
        name: A registered name.
        image: (C, H, W) of one image; the default is the one of the declared facts.
        num_classes: The default is the architecture's own.

    Raises:
        SpecError: An unknown name, or an image that the network cannot take.
    """
    found = architecture(name)
    return found.build(image or found.facts.input, num_classes or found.num_classes)


def layer_kinds() -> Mapping[str, type[Layer]]:
    """Every registered layer kind by name, those of plugins included: importing a plugin registers its kinds."""
    from cnnbench.spec.kinds import layer_kinds as registered

    plugin_manager()
    return registered()


def weight_readers() -> dict[str, WeightReader]:
    """The reader of each file suffix; where two plugins read the same suffix, the one registered last does."""
    from cnnbench.spec.interchange.weight_files import WeightReader

    readers = offered("cnnbench_weight_readers", WeightReader).values()
    return {suffix: reader for reader in readers for suffix in reader.suffixes}


def read_weights(path: Path) -> dict[str, Array]:
    """The arrays of a weights file of any known format, by the file's own names.

    Raises:
        DataError: An unknown suffix, or a file that is not valid.
        UnavailableError: A package that the format needs is missing.
    """
    readers = weight_readers()
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise DataError(
            f"files of weights cannot end with {suffix!r}", where=str(path), remedy=did_you_mean(suffix, readers)
        )
    return readers[suffix].read(path)
