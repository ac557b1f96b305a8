"""A layer's fields in few words, for tables and drawings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 90
IN_THE_SHAPE = frozenset({"out_channels", "out_features"})
IMPLIED = {"dilation": "1", "output_padding": "0", "padding_mode": "zeros"}


def settings(fields: Mapping[str, Any]) -> str:
    """The fields of a resolved layer: ``3x3, stride 2, padding 1, groups 32, no bias``; ``eps 1e-05, momentum 0.1``.

    What the output's shape shows, and what is not there (a dilation of 1, a flag that is off), is left out.
    """
    shown = (_setting(name, value) for name, value in fields.items() if name not in IN_THE_SHAPE)
    text = ", ".join(filter(None, shown))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _setting(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return name if value and name != "bias" else "no bias" if name == "bias" and value is False else ""
    if name == "kernel_size" and isinstance(value, list):
        return "x".join(map(str, value))
    if isinstance(value, list):
        flat = [_short(item) for item in value]
        value = flat[0] if len(set(flat)) == 1 else f"({', '.join(flat)})"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "" if IMPLIED.get(name) == text else f"{name} {text}"


def _short(value: Any) -> str:
    """A pair of equal paddings as one number, (1, 2) as ``1:2``."""
    if not isinstance(value, list):
        return str(value)
    return ":".join(map(str, value[:1] if len(set(map(str, value))) == 1 else value))
