"""Losses as data: what is minimised; each backend maps them to its framework's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.fields import construct


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A scalar function of the main output and the targets, averaged over the batch."""

    kind: ClassVar[str] = ""

    def __init_subclass__(cls, *, kind: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = kind
        _LOSSES[kind] = cls


_LOSSES: dict[str, type[Loss]] = {}


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss, kind="cross_entropy"):
    """Mean over the batch of -sum_k q_k log softmax(logits)_k, q = (1 - e) onehot(target) + e / K.

    Args:
        label_smoothing: e (Szegedy et al., "Rethinking the inception architecture" (2015), section 7).

    Shapes:
        logits (N, K), targets (N,) integers -> ().
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise SpecError("label_smoothing is not valid", received=self.label_smoothing, expected="0 to below 1")


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(Loss, kind="mean_squared_error"):
    """Mean over all elements of (output - target)^2. Shapes: output S, targets S (floats) -> ()."""


def loss_from_fields(kind: str, fields: dict[str, Any]) -> Loss:
    """A loss from plain data. Raises SpecError for an unknown kind or field, or a value of the wrong type."""
    if kind not in _LOSSES:
        raise SpecError(f"unknown loss {kind!r}", remedy=did_you_mean(kind, _LOSSES))
    return construct(_LOSSES[kind], kind, fields)
