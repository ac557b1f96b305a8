"""Clipping of gradients as data: by value, by the norm of all or of each, or unit by unit as weights are large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cnnbench.errors import FieldError, SpecError, did_you_mean
from cnnbench.spec.fields import construct
from cnnbench.spec.graph import Graph

ClippingKind = Literal["value", "global_norm", "norm", "adaptive"]
KINDS = ("value", "global_norm", "norm", "adaptive")
EPSILONS = {"value": 0.0, "global_norm": 1e-6, "norm": 1e-6, "adaptive": 1e-3}


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """What is done with the gradients of the loss before anything else: weight decay is added afterwards.

    With L = ``limit``, e = ``epsilon``, g the gradient of a weight w:

    * ``value``: every element to [-L, L] (``torch.nn.utils.clip_grad_value_``, ``optax.clip``, Keras' ``clipvalue``);
    * ``global_norm``: g <- g L / max(L, n + e), where n is the root of the sum of the squares of all trained weights'
      gradients (``torch.nn.utils.clip_grad_norm_``; with e = 0 ``optax.clip_by_global_norm``, Keras'
      ``global_clipnorm``);
    * ``norm``: the same with the norm of each weight's own gradient (with e = 0 Keras' ``clipnorm``);
    * ``adaptive``: of each unit apart, g <- g m / max(m, |g|) with m = L max(|w|, e). A unit is what the first axis of
      the canonical array counts (an output channel, a row of a linear layer); a vector is one unit
      (Brock et al., "High-performance large-scale image recognition without normalization", 2021, equation 3).

    Args:
        kind: One of the four.
        limit: L.
        epsilon: e; None for 1e-6, and for 1e-3 where adaptive. ``value`` has none.
        excluded: Of adaptive clipping: nodes or weights that are left alone, by full name. In the paper it is the last
            linear layer.
    """

    kind: ClippingKind
    limit: float
    epsilon: float | None = None
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            remedy = did_you_mean(str(self.kind), KINDS)
            raise SpecError(
                "kind of clipping is not valid", received=self.kind, expected=", ".join(KINDS), remedy=remedy
            )
        if not self.limit > 0:
            raise SpecError("limit of clipping is not valid", received=self.limit, expected="a number above 0")
        if self.epsilon is not None and (self.kind == "value" or not 0 <= self.epsilon < 1):
            expected = "none, because values are clipped" if self.kind == "value" else "from 0 to below 1"
            raise FieldError("epsilon", "of clipping is not valid", received=self.epsilon, expected=expected)
        if self.excluded and self.kind != "adaptive":
            raise SpecError("only adaptive clipping leaves weights out", received=f"{self.kind}, {self.excluded}")

    @property
    def floor(self) -> float:
        """The epsilon that counts."""
        return EPSILONS[self.kind] if self.epsilon is None else self.epsilon

    def clips(self, weight: str) -> bool:
        """Whether a weight's gradient is clipped. Args: weight: its full name."""
        return not any(weight == name or weight.startswith(f"{name}.") for name in self.excluded)

    def require_names(self, graph: Graph) -> None:
        """Raises SpecError where something is left out that the network does not train."""
        trained = [spec.name for spec in graph.named_weights() if spec.trainable]
        for name in self.excluded:
            if not any(weight == name or weight.startswith(f"{name}.") for weight in trained):
                known = {*trained, *(weight.rpartition(".")[0] for weight in trained)}
                raise FieldError(
                    "clipping",
                    f"leaves out {name!r}, which has no trained weight",
                    where=graph.name,
                    remedy=did_you_mean(name, known),
                )


def clipping_from_fields(value: Any) -> Clipping | None:
    """Clipping from plain data. Raises SpecError where it cannot be."""
    if value is None or isinstance(value, Clipping):
        return value
    if not isinstance(value, Mapping):
        raise FieldError("clipping", received=value, expected="its fields, for example kind and limit")
    return construct(Clipping, "clipping", value)
