"""The strict, immutable value of which everything is made that is written to a file or sent between processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Frozen(BaseModel):
    """A strict, immutable value."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Figures(Frozen):
    """A frozen value of computed figures: NumPy's scalars and arrays become Python's own numbers and lists."""

    @model_validator(mode="before")
    @classmethod
    def _in_plain_numbers(cls, data: Any) -> Any:
        return _plain(data)


def _plain(value: Any) -> Any:
    """The value without NumPy, in containers too."""
    convert: Callable[[], Any] | None = getattr(value, "tolist", None)
    if convert is not None:
        return convert()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value
