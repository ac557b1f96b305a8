"""Regularisation by noise: dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.base import Layer, MaskSpec, Shapes


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
            raise SpecError("p is not valid", received=self.p, expected="a probability of at least 0 and below 1")
        return self

    def masks(self, inputs: Shapes) -> tuple[MaskSpec, ...]:
        return (MaskSpec("mask", inputs[0], 1.0 - self.p),) if self.p else ()
