"""What a backend does not do of a layer kind that it otherwise has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

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
        special_values: Whether it concerns NaN, infinities and denormals alone: "always", or only where a compiler has
            "fused" the layer with others. No layer is left out for it; the check ``special`` names it.
    """

    kind: str
    reason: str
    precisions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    gradient_only: bool = False
    condition: str = ""
    when: Callable[[Any], bool] | None = None
    special_values: Literal["", "always", "fused"] = ""

    def meets(self, layer: Layer, precision: str, mode: str, *, gradient: bool) -> bool:
        """Whether a layer falls into the gap.

        Args:
            layer: Of any kind.
            precision: The name of the precision policy.
            mode: The backend's mode.
            gradient: Whether the program differentiates.
        """
        return (
            not self.special_values
            and layer.kind == self.kind
            and precision in (self.precisions or (precision,))
            and mode in (self.modes or (mode,))
            and (gradient or not self.gradient_only)
            and (self.when is None or self.when(layer))
        )

    def alters(self, layer: Layer, precision: str, mode: str) -> bool:
        """Whether NaN, infinities or denormals that reach a layer may come out otherwise than in the reference.

        Args:
            layer: Of any kind.
            precision: The name of the precision policy.
            mode: The backend's mode.
        """
        of_layers = replace(self, special_values="")
        return self.special_values != "" and of_layers.meets(layer, precision, mode, gradient=True)

    def to_json(self) -> dict[str, Any]:
        """Plain data for records and listings."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "precisions": list(self.precisions),
            "modes": list(self.modes),
            "gradient_only": self.gradient_only,
            "condition": self.condition,
            "special_values": self.special_values,
        }
