"""Layers that join several values: add, concatenate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.activation import resolve_axis
from cnnbench.spec.layers.base import Layer, Shapes


@dataclass(frozen=True, kw_only=True)
class Add(Layer, kind="add"):
    """Sum of two or more values of equal shape, added from left to right. Shapes: k times S -> S."""

    num_inputs = (2, None)

    def resolve(self, inputs: Shapes) -> Self:
        if len(set(inputs)) != 1:
            raise SpecError(
                "the inputs differ in shape",
                received=inputs,
                expected="equal shapes",
                remedy="project the shortcut with a 1x1 convolution, or subsample and pad it",
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Concat(Layer, kind="concat"):
    """Joins values along ``axis`` (canonical layout; 1 is the channel axis).

    Shapes:
        (N, C1, ...), (N, C2, ...), ... -> (N, C1 + C2 + ..., ...).
    """

    axis: int = 1

    moves = True
    num_inputs = (1, None)

    def resolve(self, inputs: Shapes) -> Self:
        axis = resolve_axis(self.axis, len(inputs[0]))
        if len({(*shape[:axis], *shape[axis + 1 :]) for shape in inputs}) != 1 or len({*map(len, inputs)}) != 1:
            raise SpecError(
                "the inputs differ beyond the joined axis", received=inputs, expected=f"equal but for axis {axis}"
            )
        return replace(self, axis=axis)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        axis = self.axis
        return ((*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :]),)
