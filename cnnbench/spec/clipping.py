"""Gradient clipping as data: by value, by global norm, by each weight's norm, or adaptively by each unit's norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cnnbench.errors import FieldError, SpecError, did_you_mean
from cnnbench.spec.fields import construct
from cnnbench.spec.graph import Graph, is_within, weight_parts

ClippingKind = Literal["value", "global_norm", "norm", "adaptive"]
KINDS = ("value", "global_norm", "norm", "adaptive")
EPSILONS = {"value": 0.0, "global_norm": 1e-6, "norm": 1e-6, "adaptive": 1e-3}


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """Clipping of the loss' gradients, before weight decay is added.

    With L = ``limit``, e = ``epsilon``, g the gradient of a weight w:

    * ``value``: every element to [-L, L] (``torch.nn.utils.clip_grad_value_``, ``optax.clip``, Keras' ``clipvalue``);
    * ``global_norm``: g <- g L / max(L, n + e), where n is the L2 norm of all trained weights' gradients together
      (``torch.nn.utils.clip_grad_norm_``; with e = 0 ``optax.clip_by_global_norm``, Keras' ``global_clipnorm``);
    * ``norm``: the same, where n is the L2 norm of this weight's gradient (with e = 0 Keras' ``clipnorm``);
    * ``adaptive``: for each unit, g <- g m / max(m, |g|) with m = L max(|w|, e) and L2 norms |g| and |w| of the unit.
      A unit is one index of the canonical array's first axis: an output channel, a row of a linear layer. A vector is
      one unit.

    Args:
        kind: One of the four.
        limit: L, above 0.
        epsilon: e; by default 1e-6, and 1e-3 for ``adaptive``. ``value`` has none.
        excluded: For ``adaptive`` only: full names of nodes or weights whose gradients are not clipped. The paper
            excludes the last linear layer.

    Raises:
        SpecError: A field is not valid.

    Source: adaptive clipping is equation 3 of Brock et al., "High-performance large-scale image recognition without
    normalization" (2021).
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
        """The epsilon in use: the given one, or the kind's default."""
        return EPSILONS[self.kind] if self.epsilon is None else self.epsilon

    def clips(self, weight: str) -> bool:
        """Whether a weight's gradient is clipped. Args: weight: its full name."""
        return not any(is_within(weight, name) for name in self.excluded)

    def require_names(self, graph: Graph) -> None:
        """Raises SpecError where ``excluded`` names something that has no trained weight in the network."""
        trained = [spec.name for spec in graph.named_weights() if spec.trainable]
        for name in self.excluded:
            if not any(is_within(weight, name) for weight in trained):
                known = {*trained, *(weight_parts(weight)[0] for weight in trained)}
                raise FieldError(
                    "clipping",
                    f"leaves out {name!r}, which has no trained weight",
                    where=graph.name,
                    remedy=did_you_mean(name, known),
                )


def clipping_from_fields(value: Any) -> Clipping | None:
    """Clipping from a mapping of its fields, or None. Raises SpecError for a field that is not valid."""
    if value is None or isinstance(value, Clipping):
        return value
    if not isinstance(value, Mapping):
        raise FieldError("clipping", received=value, expected="its fields, for example kind and limit")
    return construct(Clipping, "clipping", value)
