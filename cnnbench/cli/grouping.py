"""Commands as typer wants them: a dataclass in a command's signature stands for its fields' options; results alone
reach standard output.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

from cnnbench.cli.streams import reserved
from cnnbench.numerics.cache_size import cache_bytes


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of each group; while it runs, standard output is kept for results.

    Args:
        command: Its parameters are options and arguments, or dataclasses whose fields are; they come in this order.
    """
    hints = get_type_hints(command, include_extras=True)
    flat: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[parameter.name] = kind
            flat += _options(kind)
        else:
            flat.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def called(**given: Any) -> None:
        cache_bytes()  # refused before anything runs, and not in the first check
        values = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)}) for name, kind in groups.items()
        }
        with reserved():  # plugins, frameworks and their native code print when they are imported or called
            command(**values, **given)

    called.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return called


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field.default, field.default_factory),
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def _default(default: Any, factory: Any) -> Any:
    """As a signature states it: a required option has none."""
    if factory is not MISSING:
        return factory()
    return inspect.Parameter.empty if default is MISSING else default
