"""The strict, immutable value of which everything is made that is written to a file or sent between processes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A strict, immutable value."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
