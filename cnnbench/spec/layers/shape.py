"""Layers that move values and compute nothing: flatten, pad."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.activation import resolve_axis
from cnnbench.spec.layers.base import Layer, Shapes


@dataclass(frozen=True, kw_only=True)
class Flatten(Layer, kind="flatten"):
    """Joins the axes from ``start_axis`` to the last into one, in canonical (channels-first) order.

    Shapes:
        (N, C, H, W) -> (N, C*H*W) for the default ``start_axis`` 1.
    """

    start_axis: int = 1

    moves = True
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        return replace(self, start_axis=resolve_axis(self.start_axis, len(inputs[0])))

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((*inputs[0][: self.start_axis], math.prod(inputs[0][self.start_axis :])),)


@dataclass(frozen=True, kw_only=True)
class Pad(Layer, kind="pad"):
    """Surrounds the input with a constant.

    Args:
        padding: One (begin, end) pair for each axis after the batch axis, the channel axis first.
        value: The constant.

    Shapes:
        (N, C, *spatial) -> each axis longer by begin + end.
    """

    padding: tuple[tuple[int, int], ...]
    value: float = 0.0

    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        if len(self.padding) != len(inputs[0]) - 1 or any(p < 0 for pair in self.padding for p in pair):
            raise SpecError(
                "padding does not fit the input",
                received=repr(self.padding),
                expected=f"{len(inputs[0]) - 1} pairs (begin, end) of integers of at least 0, channel axis first",
            )
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        grown = (size + begin + end for size, (begin, end) in zip(inputs[0][1:], self.padding, strict=True))
        return ((inputs[0][0], *grown),)
