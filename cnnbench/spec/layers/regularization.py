"""Regularisation by noise: dropout of elements and of whole branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import MaskSpec
from cnnbench.spec.layers.base import Layer, Shapes, require_one_of


@dataclass(frozen=True, kw_only=True)
class Dropout(Layer, kind="dropout"):
    """Inverted dropout: training y = x * mask / (1 - p); inference y = x.

    Args:
        p: The probability that an element is dropped.

    Shapes: any -> the same. Mask: ``<node>.mask`` of the input's shape, one where an element is kept.

    Source: Srivastava et al., "Dropout" (2014), section 10 for the scaling at training time.
    """

    p: float = 0.5

    def resolve(self, inputs: Shapes) -> Self:
        if not 0 <= self.p < 1:
            raise FieldError("p", received=self.p, expected="a probability of at least 0 and below 1")
        return self

    def masks(self, inputs: Shapes) -> tuple[MaskSpec, ...]:
        return (MaskSpec("mask", inputs[0], 1.0 - self.p),) if self.p else ()


@dataclass(frozen=True, kw_only=True)
class StochasticDepth(Dropout, kind="stochastic_depth"):
    """Drops a whole residual branch: training y = x * mask / (1 - p); inference y = x.

    It stands at the end of a branch, before the addition.

    Args:
        p: The probability that the branch is dropped; the paper lets it grow linearly with depth.
        mode: ``"row"`` draws for each image (EfficientNet, timm's DropPath), ``"batch"`` once (the paper).

    The kept branch is scaled at training (torchvision, timm); the paper scales by 1 - p at inference instead.

    Shapes: any -> the same. Mask: ``<node>.mask`` (N, 1, ...), or (1, 1, ...) for ``"batch"``.

    Source: Huang et al., "Deep networks with stochastic depth" (2016), equations 2 and 5.
    """

    mode: Literal["row", "batch"] = "row"

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.mode, "mode", ("row", "batch"))
        return super().resolve(inputs)

    def masks(self, inputs: Shapes) -> tuple[MaskSpec, ...]:
        rows = inputs[0][0] if self.mode == "row" else 1
        shape = (rows, *(1,) * (len(inputs[0]) - 1))
        return (MaskSpec("mask", shape, 1.0 - self.p),) if self.p else ()
