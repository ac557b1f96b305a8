"""Layers that join several values: element by element with broadcasting, by selection, by concatenation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.arrays import Shape, Signal
from cnnbench.spec.layers.axes import resolve_axis
from cnnbench.spec.layers.base import Example, Layer, Shapes
from cnnbench.spec.layers.signals import added


@dataclass(frozen=True, kw_only=True)
class Add(Layer, kind="add"):
    """Sum of two or more values, added from left to right.

    Args:
        broadcast: Whether an axis of size 1 is repeated to the others' size, as in ``Multiply``. Not by default: a
            shortcut of another shape is a mistake more often than a wish.

    Shapes:
        k times S -> S; with ``broadcast`` as in ``Multiply``.
    """

    broadcast: bool = False

    example = Example((1, 4, 6, 6), (1, 4, 6, 6))
    num_inputs = (2, None)

    def resolve(self, inputs: Shapes) -> Self:
        if self.broadcast:
            broadcast_shape(inputs)
        elif len(set(inputs)) != 1:
            raise SpecError(
                "the inputs differ in shape",
                received=inputs,
                expected="equal shapes",
                remedy="project the shortcut with a 1x1 convolution, or subsample and pad it",
            )
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (broadcast_shape(inputs),)

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return added(inputs)


@dataclass(frozen=True, kw_only=True)
class _Broadcasting(Layer):
    """A function of values that meet element by element; each axis has one size, or 1, which is repeated."""

    example = Example((1, 4, 6, 6), (1, 4, 6, 6))
    num_inputs: ClassVar[tuple[int, int | None]] = (2, 2)

    def resolve(self, inputs: Shapes) -> Self:
        broadcast_shape(inputs)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (broadcast_shape(inputs),)


@dataclass(frozen=True, kw_only=True)
class Multiply(_Broadcasting, kind="multiply"):
    """Product of two or more values, from left to right.

    Shapes:
        Equal ranks, and along each axis one size or 1: (N, C, H, W) and (N, C, 1, 1) -> (N, C, H, W). That is NumPy's
        rule without its missing leading axes, which would mean something else channels-last.
    """

    num_inputs = (2, None)

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(math.prod(x.square for x in inputs), math.prod(x.mean for x in inputs))


@dataclass(frozen=True, kw_only=True)
class Subtract(_Broadcasting, kind="subtract"):
    """a - b. Shapes: as ``Multiply``."""

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return added((inputs[0], Signal(inputs[1].square, -inputs[1].mean)))


@dataclass(frozen=True, kw_only=True)
class Divide(_Broadcasting, kind="divide"):
    """a / b, by IEEE 754 where b is 0. Shapes: as ``Multiply``."""


@dataclass(frozen=True, kw_only=True)
class PowerOf(_Broadcasting, kind="power"):
    """a ** b; a negative a has a power for whole b only, and NaN for others.

    The gradient of a is b a**(b - 1), and 0 where b is 0. The gradient of b is a**b log a where a > 0, and 0 elsewhere
    (TensorFlow's convention; PyTorch and JAX give NaN for negative a). Shapes: as ``Multiply``.
    """


@dataclass(frozen=True, kw_only=True)
class Minimum(_Broadcasting, kind="minimum"):
    """The least of one or more values; NaN wins. The gradient as of ``Maximum``. Shapes: as ``Multiply``."""

    num_inputs = (1, None)


@dataclass(frozen=True, kw_only=True)
class Maximum(_Broadcasting, kind="maximum"):
    """The largest of one or more values, taken pair by pair from left to right; NaN wins.

    Two equal values share the gradient by halves (PyTorch's and JAX's convention; TensorFlow gives all of it to the
    first). Shapes: as ``Multiply``.
    """

    num_inputs = (1, None)


@dataclass(frozen=True, kw_only=True)
class Mean(_Broadcasting, kind="mean"):
    """The mean of one or more values: their sum from left to right over their number. Shapes: as ``Multiply``."""

    num_inputs = (1, None)


@dataclass(frozen=True, kw_only=True)
class Select(_Broadcasting, kind="select"):
    """a where the condition is not 0, else b; the condition, the first input, has no gradient.

    A NaN condition is not 0. What is not selected has a gradient of 0, even where it is NaN or infinite.

    Shapes:
        condition, a, b as ``Multiply``.
    """

    example = Example((1, 4, 6, 6), (1, 4, 6, 6), (1, 4, 6, 6))
    num_inputs = (3, 3)


def broadcast_shape(inputs: Shapes) -> Shape:
    """The shape of values of equal rank that meet element by element; raises SpecError where they cannot."""
    ranks = {len(shape) for shape in inputs}
    sizes = [set(axis) - {1} for axis in zip(*inputs, strict=False)]
    if len(ranks) != 1 or any(len(found) > 1 for found in sizes):
        raise SpecError(
            "the inputs do not broadcast",
            received=inputs,
            expected="equal ranks, and along each axis one size or 1",
            remedy="reshape the smaller one, with 1 for each axis along which it is repeated",
        )
    return tuple(found.pop() if found else 1 for found in sizes)


@dataclass(frozen=True, kw_only=True)
class Concat(Layer, kind="concat"):
    """Joins values along an axis, in the order in which they are given.

    Args:
        axis: The axis in the canonical layout; 1 is the channel axis. Negative counts from the end.

    Shapes:
        (N, C1, ...), (N, C2, ...), ... -> (N, C1 + C2 + ..., ...).
    """

    axis: int = 1

    example = Example((1, 4, 6, 6), (1, 4, 6, 6))
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
