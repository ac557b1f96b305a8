"""What a plain scalar of YAML 1.2 stands for, by the core schema."""

from __future__ import annotations

import math
import re

_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MOST_DIGITS = 40

Scalar = str | int | float | bool | None


def resolve_scalar(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar: ``1e-5`` is a number, ``on``, ``1_000`` and ``12:30`` are strings.

    Raises:
        ValueError: A number that is too long or too large to hold.

    Source: YAML 1.2.2, section 10.3.2.
    """
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _FLOAT.fullmatch(text) or _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return _number(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return text


def _number(text: str) -> int | float:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS} characters")
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _INT.fullmatch(text):
        return int(text)
    value = float(text)
    if math.isinf(value):
        raise ValueError("the number is too large for a float")
    return value
