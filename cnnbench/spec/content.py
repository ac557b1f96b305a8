"""The digest of a value's content, which is the same in every process."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any


def content_digest(value: object) -> str:
    """SHA-256 of plain data, and of dataclasses of such; a list counts as a tuple.

    Raises:
        TypeError: Anything else, since its text may leave a part of it out.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_fields).encode()).hexdigest()


def _fields(value: object) -> Any:
    """A dataclass by its type and its fields; its text might leave a field out."""
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"no digest can be made of {value!r:.80}")
    kind = type(value)
    return {f"{kind.__module__}.{kind.__qualname__}": {item.name: getattr(value, item.name) for item in fields(value)}}
