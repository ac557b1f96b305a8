"""What every optimiser says: what decays, how gradients come to the rule, its slots, and its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cnnbench.errors import FieldError
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.graph import Graph

DecayGroup = Literal["all", "kernels"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An update rule. The learning rate is an argument of each step, so that a schedule can change it.

    Args:
        decay: Which weights decay, where the rule has weight decay: ``"all"`` (He et al. 2015), or ``"kernels"``
            only: no bias and no normalisation.
        clipping: What is done with the gradients before the rule sees them; None for nothing.
        accumulate: Micro-batches of a step: parts of the batch in their order whose sizes differ by one image at most.
            Their gradients and losses are averaged, each by its share of the images, before they are clipped. Running
            statistics move with each part in turn, and a batch norm normalises each by itself. A batch of fewer images
            has a part for each.
    """

    kind: ClassVar[str] = ""
    wide_slots: ClassVar[bool] = False  # whether slots are float32 where weights are narrower
    joint: ClassVar[bool] = False  # whether a weight's update hangs on the gradients of all
    same_batch: ClassVar[bool] = False  # whether every step must see the same loss: all images, and nothing random

    decay: DecayGroup = "all"
    clipping: Clipping | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.decay not in ("all", "kernels"):
            raise FieldError("decay", received=self.decay, expected="'all' or 'kernels'")
        if not isinstance(self.clipping, Clipping | None):
            raise FieldError("clipping", received=self.clipping, expected="Clipping(kind=..., limit=...)")

        if self.accumulate < 1:
            raise FieldError("accumulate", received=self.accumulate, expected="an integer of at least 1")

    def require_names(self, graph: Graph) -> None:
        """Raises SpecError where the rule names a weight that the network does not train."""
        if self.clipping is not None:
            self.clipping.require_names(graph)

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of what is kept for each weight."""
        return ()

    def start(self, slot: str) -> float:
        """The value of a slot before the first step."""
        return 0.0

    @property
    def counters(self) -> tuple[str, ...]:
        """Those among ``slots`` that are one integer a weight; the others are arrays of the weight's shape."""
        return ()

    def __init_subclass__(cls, *, kind: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = kind
        OPTIMIZERS[kind] = cls


OPTIMIZERS: dict[str, type[Optimizer]] = {}
