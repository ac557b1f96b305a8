"""Layers that move values and compute nothing: flatten, pad."""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        resolve_axis(self.start_axis, len(inputs[0]))
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        start = resolve_axis(self.start_axis, len(inputs[0]))
        return ((*inputs[0][:start], math.prod(inputs[0][start:])),)


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

    def resolve(self, inputs: Shapes) -> Self:
        pairs_are_valid = all(
            isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(p, int) and p >= 0 for p in pair)
            for pair in self.padding
        )
        if len(self.padding) != len(inputs[0]) - 1 or not pairs_are_valid:
            raise SpecError(
                "padding does not fit the input",
                received=repr(self.padding),
                expected=f"{len(inputs[0]) - 1} pairs (begin, end) of integers of at least 0, channel axis first",
            )
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        grown = (size + begin + end for size, (begin, end) in zip(inputs[0][1:], self.padding, strict=True))
        return ((inputs[0][0], *grown),)
