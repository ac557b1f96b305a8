"""Learning-rate schedules: pure functions of the time in epochs, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cnnbench.errors import SpecError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What the base rate is multiplied by, at a time in epochs (fractional within one).

    Args:
        warm_up: Epochs at the start in which the rate rises linearly; the schedule's own time begins after them.
        warm_up_start: The factor at the very first step of the warm-up.

    Source of the warm-up: Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.
    """

    kind: ClassVar[str] = ""
    warm_up: float = 0.0
    warm_up_start: float = 0.1

    def __init_subclass__(cls, *, kind: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = kind
        _SCHEDULES[kind] = cls

    def __post_init__(self) -> None:
        _require(self.warm_up >= 0, "warm_up", self.warm_up, "a number of epochs of at least 0")
        _require(0 <= self.warm_up_start <= 1, "warm_up_start", self.warm_up_start, "a factor from 0 to 1")

    def factor(self, epoch: float, epochs: float) -> float:
        """The factor at the time ``epoch`` of a training of ``epochs`` epochs."""
        if epoch < self.warm_up:
            return self.warm_up_start + (1.0 - self.warm_up_start) * epoch / self.warm_up
        return self.after_warm_up(epoch - self.warm_up, epochs - self.warm_up)

    def after_warm_up(self, epoch: float, epochs: float) -> float:
        """The schedule proper, of the time since the warm-up."""
        return 1.0


_SCHEDULES: dict[str, type[Schedule]] = {}


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule, kind="constant"):
    """The base rate throughout."""


@dataclass(frozen=True, kw_only=True)
class Step(Schedule, kind="step"):
    """gamma to the power of the number of milestones passed.

    Args:
        milestones: Ascending times in epochs. gamma: the factor at each.

    Source: He et al., "Deep residual learning" (2015), section 4.2 (a tenth at two milestones).
    """

    milestones: tuple[float, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        ascending = list(self.milestones) == sorted(set(self.milestones))
        _require(ascending and bool(self.milestones), "milestones", self.milestones, "ascending, different times")
        _require(0 < self.gamma <= 1, "gamma", self.gamma, "a factor above 0, at most 1")

    def after_warm_up(self, epoch: float, epochs: float) -> float:
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule, kind="exponential"):
    """gamma ** epoch, at every step. Args: gamma: the factor of one epoch."""

    gamma: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 < self.gamma <= 1, "gamma", self.gamma, "a factor above 0, at most 1")

    def after_warm_up(self, epoch: float, epochs: float) -> float:
        return float(self.gamma**epoch)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule, kind="cosine"):
    """final + (1 - final) (1 + cos(pi epoch / epochs)) / 2, at every step.

    Args:
        final: The factor at the end.

    Source: Loshchilov, Hutter, "SGDR" (2016), equation 5 without restarts.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.final <= 1, "final", self.final, "a factor from 0 to 1")

    def after_warm_up(self, epoch: float, epochs: float) -> float:
        share = min(epoch / epochs, 1.0) if epochs > 0 else 1.0
        return self.final + (1.0 - self.final) * (1.0 + math.cos(math.pi * share)) / 2.0


def schedule_from_fields(kind: str, fields: Mapping[str, Any]) -> Schedule:
    """A schedule from plain data. Raises SpecError for an unknown kind or field, or a value that cannot be."""
    if kind not in _SCHEDULES:
        raise SpecError(f"unknown schedule {kind!r}", remedy=did_you_mean(kind, _SCHEDULES))
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    try:
        return _SCHEDULES[kind](**given)
    except TypeError as error:
        raise SpecError(f"{kind} does not take these fields: {error}", received=sorted(fields)) from None


def _require(holds: bool, field: str, received: object, expected: str) -> None:
    if not holds:
        raise SpecError(f"{field} is not valid", received=received, expected=expected)
