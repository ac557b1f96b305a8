"""Optimisers as data: update rules, their slots, and which weights decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.fields import construct
from cnnbench.spec.graph import Graph

DecayGroup = Literal["all", "kernels"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An update rule. The learning rate is an argument of each step, so that a schedule can change it.

    Args:
        decay: Which weights decay, where the rule has weight decay: ``"all"`` (He et al. 2015), or ``"kernels"``
            only: no bias and no normalisation.
    """

    kind: ClassVar[str] = ""

    decay: DecayGroup = "all"

    def __post_init__(self) -> None:
        if self.decay not in ("all", "kernels"):
            raise SpecError("decay is not valid", received=self.decay, expected="'all' or 'kernels'")

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the arrays kept for each weight, of its shape, zero at the start."""
        return ()

    def __init_subclass__(cls, *, kind: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = kind
        _OPTIMIZERS[kind] = cls


_OPTIMIZERS: dict[str, type[Optimizer]] = {}


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer, kind="sgd"):
    """Stochastic gradient descent with momentum and coupled L2 decay.

    g <- gradient + weight_decay * w (where w decays); m <- momentum * m + g;
    w <- w - rate * (g + momentum * m if nesterov else m). Slot ``momentum`` holds m (PyTorch's convention: the
    rate is outside of m); without momentum there is none.

    Args:
        momentum: 0 for plain gradient descent.
        nesterov: Look ahead (Sutskever et al. 2013, in PyTorch's form).
        weight_decay: The L2 coefficient.
    """

    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, value in (("momentum", self.momentum), ("weight_decay", self.weight_decay)):
            if not 0 <= value < 1:
                raise SpecError(f"{field} is not valid", received=value, expected="a number from 0 to below 1")


def decays(graph: Graph, group: DecayGroup) -> dict[str, bool]:
    """For each trainable weight by full name, whether weight decay applies to it."""
    return {spec.name: group == "all" or spec.decay for spec in graph.named_weights() if spec.trainable}


def optimizer_from_fields(kind: str, fields: dict[str, Any]) -> Optimizer:
    """An optimiser from plain data. Raises SpecError for an unknown kind or field, or a value of the wrong type."""
    if kind not in _OPTIMIZERS:
        raise SpecError(f"unknown optimizer {kind!r}", remedy=did_you_mean(kind, _OPTIMIZERS))
    return construct(_OPTIMIZERS[kind], kind, fields)
