"""Learning-rate schedules: pure functions of the time in epochs, and of what past epochs came to, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from cnnbench.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from cnnbench.training.epoch import Epoch


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What the base rate is multiplied by, at a time in epochs (fractional within one).

    Args:
        warm_up: Epochs at the start in which the rate rises linearly; the schedule's own time begins after them.
        warm_up_start: The factor at the very first step of the warm-up.

    Source of the warm-up: Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2.
    """

    kind: ClassVar[str] = ""
    watches: ClassVar[bool] = False  # whether ``reduction`` depends on past epochs

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

    def reduction(self, past: Sequence[Epoch]) -> float:
        """A further factor from what past epochs came to."""
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


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule, kind="one_cycle"):
    """From ``start`` up to 1 and down to ``final`` in two half cosines, at every step.

    ``torch.optim.lr_scheduler.OneCycleLR`` (``max_lr`` is the base rate, ``start`` 1 / ``div_factor``, ``final`` that
    over ``final_div_factor``) has both ends one step earlier, and cycles the momentum, too, unless told not to.

    Args:
        peak: The share of the time at which the factor is 1.
        start: The factor at the start.
        final: The factor at the end.

    Source: Smith, Topin, "Super-convergence" (2017), with cosines in place of lines.
    """

    peak: float = 0.3
    start: float = 0.04
    final: float = 4e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 < self.peak < 1, "peak", self.peak, "a share of the time between 0 and 1")
        _require(0 <= self.start <= 1, "start", self.start, "a factor from 0 to 1")
        _require(0 <= self.final <= 1, "final", self.final, "a factor from 0 to 1")

    def after_warm_up(self, epoch: float, epochs: float) -> float:
        share = min(epoch / epochs, 1.0) if epochs > 0 else 1.0
        if share < self.peak:
            return self.start + (1.0 - self.start) * (1.0 - math.cos(math.pi * share / self.peak)) / 2.0
        fallen = (share - self.peak) / (1.0 - self.peak)
        return self.final + (1.0 - self.final) * (1.0 + math.cos(math.pi * fallen)) / 2.0


Watched = Literal["test_loss", "train_loss", "test_accuracy"]


@dataclass(frozen=True, kw_only=True)
class Plateau(Schedule, kind="plateau"):
    """Times gamma after each ``patience`` + 1 epochs in a row without a better figure.

    An epoch is better where its figure is below best * (1 - ``threshold``), or above best * (1 + ``threshold``) for
    the accuracy. Those of the warm-up do not count, nor do the ``cooldown`` epochs after a reduction, except as the
    best. The host decides from figures in float64: backends whose figures lie at either side of the limit part there.

    Args:
        watch: The figure.
        gamma: The factor at each reduction.
        patience: Epochs that may be no better.
        threshold: How much better, relatively.
        cooldown: Epochs after a reduction in which none is counted.
        least: The factor does not fall below it.

    Source: ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with ``threshold_mode="rel"``.
    """

    watches: ClassVar[bool] = True

    watch: Watched = "test_loss"
    gamma: float = 0.1
    patience: int = 1
    threshold: float = 1e-4
    cooldown: int = 0
    least: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.watch in get_args(Watched), "watch", self.watch, " or ".join(get_args(Watched)))
        _require(0 < self.gamma < 1, "gamma", self.gamma, "a factor between 0 and 1")
        _require(self.patience >= 0, "patience", self.patience, "at least 0 epochs")
        _require(0 <= self.threshold < 1, "threshold", self.threshold, "from 0 to below 1")
        _require(self.cooldown >= 0, "cooldown", self.cooldown, "at least 0 epochs")
        _require(0 <= self.least <= 1, "least", self.least, "a factor from 0 to 1")

    def reduction(self, past: Sequence[Epoch]) -> float:
        sign = -1.0 if self.watch == "test_accuracy" else 1.0
        best, factor, bad, rest = math.inf, 1.0, 0, 0
        for epoch in past:
            value = getattr(epoch, self.watch)
            _require(value is not None, "watch", self.watch, "a figure that this network has")
            if epoch.epoch <= self.warm_up:
                continue
            better = sign * value < best - self.threshold * abs(best) if math.isfinite(best) else value == value
            best, bad = (sign * value, 0) if better else (best, bad + 1)
            if rest:
                rest, bad = rest - 1, 0
            if bad > self.patience:
                factor, bad, rest = max(factor * self.gamma, self.least), 0, self.cooldown
        return factor


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
