"""Layers that give values another shape: flatten, reshape, transpose, expand, tile, squeeze, unsqueeze, pad."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.axes import resolve_axis
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int


@dataclass(frozen=True, kw_only=True)
class Flatten(Layer, kind="flatten"):
    """Joins the axes from one to the last into one, in canonical (channels-first) order.

    Args:
        start_axis: The first of the joined axes. Negative counts from the end.

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
class Reshape(Layer, kind="reshape"):
    """The same values in row-major order of the canonical layout, in another shape.

    Args:
        shape: The shape after the batch axis, or with ``whole`` all of it. One size may be -1: what remains.
        whole: Whether ``shape`` holds the batch axis too, so that it may be joined with others (windows of an image)
            or split. Say -1 where the batch size goes in; a shape of fixed sizes only serves values without a batch.

    Shapes:
        (N, ...) -> (N, *shape), or ``shape`` with ``whole``; as many values.
    """

    shape: tuple[int, ...]
    whole: bool = False

    example = Example((1, 4, 6, 6), shape=(2, -1))
    moves = True
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        if self.shape.count(-1) > 1 or any(size < -1 for size in self.shape):
            raise FieldError(
                "shape",
                received=self.shape,
                expected="sizes of at least 0, one of which may be -1 (what remains)",
            )
        self.output_shapes(inputs)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        kept, source = ((), inputs[0]) if self.whole else (inputs[0][:1], inputs[0][1:])
        count, known = math.prod(source), math.prod([size for size in self.shape if size != -1])
        rest = count // known if known else 0
        target = tuple(rest if size == -1 else size for size in self.shape)
        if math.prod(target) != count:
            raise FieldError(
                "shape",
                "does not hold as many values as the input",
                received=f"{self.shape} for {source}",
                expected=f"sizes whose product is {count}",
                remedy="say -1 for the axis that the batch goes into" if self.whole and -1 not in self.shape else None,
            )
        return ((*kept, *target),)


@dataclass(frozen=True, kw_only=True)
class Transpose(Layer, kind="transpose"):
    """The axes in another order.

    Args:
        permutation: For each axis of the output, the axis of the input, the batch axis (0) included: it may move.

    Shapes:
        output.shape[i] = input.shape[permutation[i]]. Source: NumPy's ``transpose``, PyTorch's ``permute``.
    """

    permutation: tuple[int, ...]

    example = Example((1, 4, 6, 6), permutation=(0, 2, 3, 1))
    moves = True
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        rank = len(inputs[0])
        axes = tuple(axis + rank if axis < 0 else axis for axis in self.permutation)
        if sorted(axes) != list(range(rank)):
            raise FieldError("permutation", received=self.permutation, expected=f"each axis from 0 to {rank - 1} once")
        return replace(self, permutation=axes)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (tuple(inputs[0][axis] for axis in self.permutation),)


@dataclass(frozen=True, kw_only=True)
class Expand(Layer, kind="expand"):
    """Repeats axes of size 1: broadcasting, made explicit.

    Args:
        shape: The shape after the batch axis; -1 keeps a size. Further axes may stand in front of the input's, which
            are aligned at the end, as NumPy's broadcasting has it.

    Shapes:
        (N, ...) -> (N, *shape). With a second input of any shape, of which only the batch size counts:
        (1, ...), (N, ...) -> (N, *shape), which gives a parameter (a class token) to every image.
    """

    shape: tuple[int, ...]

    example = Example((1, 4, 1, 6), shape=(4, 3, -1))
    num_inputs = (1, 2)
    moves = True
    layout_rule = "canonical"

    def aligned(self, source: Shape) -> Shape:
        """The input's shape with axes of size 1 between its batch axis and the others, of the output's rank."""
        return (source[0], *(1,) * (len(self.shape) + 1 - len(source)), *source[1:])

    def resolve(self, inputs: Shapes) -> Self:
        source = self.aligned(inputs[0])
        fits = len(source) == len(self.shape) + 1 and all(
            size in (1, n) or n == -1 for size, n in zip(source[1:], self.shape, strict=True)
        )
        if not fits or any(n < -1 for n in self.shape):
            raise SpecError(
                "the input does not broadcast to shape",
                received=f"{self.shape} for {inputs[0][1:]}",
                expected="for each axis, counted from the last, -1, the input's size, or any size where that is 1",
            )
        if len(inputs) > 1 and inputs[0][0] != 1:
            raise SpecError("the first input has a batch of its own", received=inputs[0][0], expected="batch size 1")
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        source = self.aligned(inputs[0])
        sizes = tuple(size if n == -1 else n for size, n in zip(source[1:], self.shape, strict=True))
        return ((inputs[-1][0], *sizes),)


@dataclass(frozen=True, kw_only=True)
class Tile(Layer, kind="tile"):
    """The input repeated side by side along each axis: a b -> a b a b.

    Args:
        repeats: How often, for each axis after the batch axis, the channel axis first.

    Shapes:
        (N, C, *spatial) -> each axis repeats times as long. Source: NumPy's ``tile``, PyTorch's ``repeat``.
    """

    repeats: tuple[int, ...]

    example = Example((1, 4, 6, 6), repeats=(1, 2, 1))
    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        if len(self.repeats) != len(inputs[0]) - 1:
            raise FieldError(
                "repeats", "do not fit the input", received=self.repeats, expected=f"{len(inputs[0]) - 1} integers"
            )
        for count in self.repeats:
            require_int(count, "repeats", least=1)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((inputs[0][0], *(n * count for n, count in zip(inputs[0][1:], self.repeats, strict=True))),)


@dataclass(frozen=True, kw_only=True)
class Squeeze(Layer, kind="squeeze"):
    """Leaves out axes of size 1.

    Args:
        axes: Which, in the canonical layout; negative ones count from the end.

    Shapes:
        (N, C, 1, 1) -> (N, C) for ``axes`` (2, 3).
    """

    axes: tuple[int, ...]

    example = Example((1, 4, 1, 6), axes=(2,))
    moves = True
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        axes = tuple(sorted(resolve_axis(axis, len(inputs[0])) for axis in self.axes))
        sizes = [inputs[0][axis] for axis in axes]
        if len(set(axes)) != len(axes) or any(size != 1 for size in sizes):
            raise FieldError(
                "axes", "are not valid", received=f"{self.axes} of sizes {sizes}", expected="axes of size 1"
            )
        return replace(self, axes=axes)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (tuple(size for axis, size in enumerate(inputs[0]) if axis not in self.axes),)


@dataclass(frozen=True, kw_only=True)
class Unsqueeze(Layer, kind="unsqueeze"):
    """Puts in axes of size 1.

    Args:
        axes: Where they are in the output; negative ones count from its end.

    Shapes:
        (N, C) -> (N, C, 1, 1) for ``axes`` (2, 3).
    """

    axes: tuple[int, ...]

    example = Example((1, 4, 6, 6), axes=(1,))
    moves = True
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        rank = len(inputs[0]) + len(self.axes)
        axes = tuple(sorted(resolve_axis(axis, rank) for axis in self.axes))
        if len(set(axes)) != len(axes):
            raise FieldError("axes", "are not valid", received=self.axes, expected="different axes")
        return replace(self, axes=axes)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        sizes = iter(inputs[0])
        rank = len(inputs[0]) + len(self.axes)
        return (tuple(1 if axis in self.axes else next(sizes) for axis in range(rank)),)
