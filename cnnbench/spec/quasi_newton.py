"""L-BFGS as an update rule of all weights together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnnbench.errors import FieldError
from cnnbench.spec.update_rule import Optimizer

CURVATURE = 1e-10  # the least y^T s of a pair that is kept, as in PyTorch


@dataclass(frozen=True, kw_only=True)
class LimitedMemoryBFGS(Optimizer, kind="lbfgs"):
    """L-BFGS with steps of a given length: ``torch.optim.LBFGS`` without a line search, one iteration a step.

    All trained weights are one vector w; g is its gradient. From the second step on, s = (the last change of w) and
    y = g - (the gradient before) are the newest of the last ``history`` pairs where y^T s > 1e-10. Then d = -H g by the
    two-loop recursion, from gamma I with gamma = s^T y / y^T y of the newest pair; without a pair d = -g.
    w <- w + t d, where t is the rate, and at the first step the rate times min(1, 1 / sum |g|).

    y compares two gradients. They must be of the same loss: of one batch that holds all training images, without
    anything random.

    Slots ``gradient``, ``change`` (s), ``change_1``, ``moved_1`` (s and y of the newest pair) to those of ``history``,
    never narrower than float32, and ``step`` and ``pairs``, two integers for each weight.

    Args:
        history: Pairs that are kept (100 in PyTorch, 10 in optax and SciPy).

    Source: Nocedal, "Updating quasi-Newton matrices with limited storage" (1980), and algorithm 7.4 of Nocedal, Wright.
    """

    wide_slots: ClassVar[bool] = True
    joint: ClassVar[bool] = True
    same_batch: ClassVar[bool] = True

    history: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.history <= 100:
            raise FieldError("history", received=self.history, expected="an integer from 1 to 100")
        if self.clipping is not None:
            raise FieldError("clipping", received=self.clipping, expected="none: y compares gradients as they are")

    @property
    def slots(self) -> tuple[str, ...]:
        pairs = [f"{name}_{rank}" for rank in range(1, self.history + 1) for name in ("change", "moved")]
        return ("gradient", "change", *pairs, *self.counters)

    @property
    def counters(self) -> tuple[str, ...]:
        return ("step", "pairs")
