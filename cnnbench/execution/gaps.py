"""What a backend does not do of a layer kind that it otherwise has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cnnbench.spec.layers import Layer


@dataclass(frozen=True)
class Gap:
    """A combination of a kind, a precision and a mode that does not work; what falls into it is skipped.

    Args:
        kind: The layer kind.
        reason: Why, in words that stand beside a skip.
        precisions: Of which precisions it is so; () for all.
        modes: Of which modes it is so; () for all.
        gradient_only: Whether the forward pass works all the same.
        condition: Of which layers it is so, in words ("dilation with stride"); "" for all of the kind.
        when: The same as a function of the layer.
    """

    kind: str
    reason: str
    precisions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    gradient_only: bool = False
    condition: str = ""
    when: Callable[[Any], bool] | None = None

    def meets(self, layer: Layer, precision: str, mode: str, *, gradient: bool) -> bool:
        """Whether a layer falls into the gap.

        Args:
            layer: Of any kind.
            precision: The name of the precision policy.
            mode: The backend's mode.
            gradient: Whether the program differentiates.
        """
        return (
            layer.kind == self.kind
            and precision in (self.precisions or (precision,))
            and mode in (self.modes or (mode,))
            and (gradient or not self.gradient_only)
            and (self.when is None or self.when(layer))
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for records and listings."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "precisions": list(self.precisions),
            "modes": list(self.modes),
            "gradient_only": self.gradient_only,
            "condition": self.condition,
        }
