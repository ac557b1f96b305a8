"""Where a part of a cell was measured."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cnnbench.spec.frozen import Frozen


class Origin(Frozen):
    """Where a part was measured.

    Args:
        versions: Of the packages in the worker's interpreter. settings: as asked for and as reported.
    """

    versions: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
