"""Fields of frozen dataclasses that come from plain data: their names and types are checked against the annotations."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cnnbench.errors import FieldError, SpecError, did_you_mean

_T = TypeVar("_T")


class _MismatchError(Exception):
    """The value is not of the type."""


def construct(cls: type[_T], label: str, fields: Mapping[str, Any]) -> _T:
    """A dataclass from plain data, as JSON and YAML hold it.

    Args:
        cls: A dataclass.
        label: What messages call it.
        fields: Values by field name; lists stand for tuples.

    Raises:
        SpecError: An unknown field, a required field that is missing, a value of the wrong type.
    """
    declared = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in fields:
        if name not in declared:
            raise SpecError(f"{label} has no field {name!r}", remedy=did_you_mean(name, declared))
    missing = [
        f.name
        for f in declared.values()
        if f.name not in fields and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SpecError(f"{label} lacks {', '.join(missing)}", received=sorted(fields), expected=sorted(declared))
    return cls(**{name: _converted(cls, name, value) for name, value in fields.items()})


def checked(value: _T) -> _T:
    """The same dataclass with every field of exactly its declared type: lists as tuples, 1 as 1.0 for a float.

    Raises:
        SpecError: A field whose value cannot be so.
    """
    changes = {}
    cls: type = type(value)
    for name in _hints(cls):
        before = getattr(value, name)
        after = _converted(cls, name, before)
        if after is not before:
            changes[name] = after
    return dataclasses.replace(value, **changes) if changes else value  # type: ignore[type-var]


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The annotation of each field; Any where it cannot be resolved at run time."""
    names = [f.name for f in dataclasses.fields(cls)]
    try:
        hints = get_type_hints(cls)
    except NameError:
        hints = {}
    return {name: hints.get(name, Any) for name in names}


def _converted(cls: type, name: str, value: Any) -> Any:
    hint = _hints(cls)[name]
    try:
        return _convert(value, hint)
    except _MismatchError:
        raise FieldError(name, received=repr(value), expected=_describe(hint)) from None


def _convert(value: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_to_one_of(value, get_args(hint))
    if origin is Literal:
        matches = any(value == option and type(value) is type(option) for option in get_args(hint))
        return _require(value, matches)
    if origin is tuple:
        return _convert_tuple(value, get_args(hint))
    if hint is bool or hint is str or hint is types.NoneType:
        return _require(value, isinstance(value, hint))
    if hint is int:
        _require(value, not isinstance(value, bool) and isinstance(value, Integral))
        return value if type(value) is int else int(value)
    if hint is float:
        _require(value, not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value))
        return value if type(value) is float else float(value)
    return value


def _convert_to_one_of(value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        try:
            return _convert(value, hint)
        except _MismatchError:
            continue
    raise _MismatchError


def _convert_tuple(value: Any, hints: tuple[Any, ...]) -> Any:
    _require(value, isinstance(value, tuple | list))
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    _require(value, len(value) == len(hints))
    converted = tuple(_convert(item, hint) for item, hint in zip(value, hints, strict=True))
    unchanged = isinstance(value, tuple) and all(a is b for a, b in zip(converted, value, strict=True))
    return value if unchanged else converted


def _require(value: Any, condition: bool) -> Any:
    if not condition:
        raise _MismatchError
    return value


def _describe(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(arg) for arg in args)
    if origin is Literal:
        return ", ".join(map(repr, args))
    if origin is tuple:
        return f"a list, each {_describe(args[0])}" if args[-1] is Ellipsis else f"[{', '.join(map(_describe, args))}]"
    names = {bool: "true or false", str: "a string", int: "an integer", float: "a finite number"}
    return names.get(hint, "nothing" if hint is types.NoneType else str(hint))
