"""Where two pieces of plain data differ first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def first_difference(first: Any, other: Any, name: str = "") -> str | None:
    """The dotted name of the first value that differs, or None.

    >>> first_difference({"seed": 1, "train": {"epochs": 2}}, {"seed": 1, "train": {"epochs": 3}})
    'train.epochs'

    Args:
        first: Plain data.
        other: The same with changes.
        name: Of the data.
    """
    if isinstance(first, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*first, *other)):
            found = first_difference(first.get(key), other.get(key), f"{name}.{key}".lstrip("."))
            if found is not None:
                return found
        return None
    return None if first == other else name or "content"
