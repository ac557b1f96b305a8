"""The kind that moves the channel axis: binding inserts it between ops that want another layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from cnnbench.spec.layers import Layer


@dataclass(frozen=True, kw_only=True)
class LayoutChange(Layer, kind="layout_change"):
    """Moves the channel axis of an operand of rank 3 and more. Binding inserts it; no graph of a user has it.

    Args:
        to: ``channels_last`` gives (N, *spatial, C), ``canonical`` gives (N, C, *spatial).
    """

    to: Literal["channels_last", "canonical"]

    family: ClassVar[str] = "execution"

    def permutation(self, rank: int) -> tuple[int, ...]:
        """The axes in their new order."""
        if self.to == "channels_last":
            return (0, *range(2, rank), 1)
        return (0, rank - 1, *range(1, rank - 1))
