"""Layers that take part of their input: slice, split, gather, roll."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.axes import resolve_axes, resolve_axis
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int


@dataclass(frozen=True, kw_only=True)
class Slice(Layer, kind="slice"):
    """Every step-th value from start to end (not included), along some axes.

    Args:
        starts, ends: For each of ``axes``, as Python's slices have them: negative ones count from the end, those that
            lie outside are moved to it, None means from the first, to the last (with a negative step: the reverse).
        steps: For each of ``axes``, not 0; negative ones walk backwards. None: 1.
        axes: Axes of the canonical layout; None: those after the batch axis, in order, as many as there are starts.

    Shapes:
        Each of ``axes`` becomes ceil((end - start) / step), at least 0.
    """

    starts: tuple[int | None, ...]
    ends: tuple[int | None, ...]
    steps: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None

    example = Example((1, 4, 6, 6), starts=(1,), ends=(3,))
    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        rank, count = len(inputs[0]), len(self.starts)
        axes = tuple(range(1, count + 1)) if self.axes is None else self.axes
        steps = (1,) * count if self.steps is None else self.steps
        if not len(self.ends) == len(steps) == len(axes) == count:
            raise SpecError(
                "starts, ends, steps and axes differ in length",
                received=f"{count}, {len(self.ends)}, {len(steps)}, {len(axes)}",
                expected="one of each for every sliced axis",
            )
        if 0 in steps:
            raise FieldError("steps", "are not valid", received=steps, expected="integers other than 0")
        return replace(self, steps=steps, axes=resolve_axes(axes, rank))

    def ranges(self, source: Shape) -> dict[int, range]:
        """For each sliced axis, the positions that are taken."""
        rows = zip(self.axes or (), self.starts, self.ends, self.steps or (), strict=True)
        return {axis: range(source[axis])[slice(start, end, step)] for axis, start, end, step in rows}

    def output_shapes(self, inputs: Shapes) -> Shapes:
        taken = self.ranges(inputs[0])
        return (tuple(len(taken[axis]) if axis in taken else size for axis, size in enumerate(inputs[0])),)


@dataclass(frozen=True, kw_only=True)
class Split(Layer, kind="split"):
    """Cuts an axis into consecutive parts: several outputs.

    Args:
        sizes: Of the parts, in order; their sum is the axis' size. An integer: that many equal parts.
        axis: In the canonical layout; 1 is the channel axis. Negative counts from the end.

    Shapes:
        (N, C, ...) -> (N, sizes[0], ...), (N, sizes[1], ...), ... for ``axis`` 1.
    """

    sizes: tuple[int, ...] | int
    axis: int = 1

    example = Example((1, 4, 6, 6), sizes=2)
    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        axis = resolve_axis(self.axis, len(inputs[0]))
        total = inputs[0][axis]
        if isinstance(self.sizes, int):
            count = require_int(self.sizes, "sizes", least=1)
            if total % count:
                raise SpecError(
                    "the axis has no equal parts",
                    received=f"size {total} into {count}",
                    expected=f"a divisor of {total}",
                )
            return replace(self, axis=axis, sizes=(total // count,) * count)
        if not self.sizes or any(size < 1 for size in self.sizes) or sum(self.sizes) != total:
            raise FieldError(
                "sizes", "do not fit the axis", received=self.sizes, expected=f"integers of at least 1 with sum {total}"
            )
        return replace(self, axis=axis)

    def parts(self) -> Shape:
        """The sizes of a resolved layer, which are always a tuple."""
        if isinstance(self.sizes, int):
            raise SpecError("the layer is not resolved", received=self.sizes, expected="the size of each part")
        return self.sizes

    def output_shapes(self, inputs: Shapes) -> Shapes:
        x = inputs[0]
        return tuple((*x[: self.axis], size, *x[self.axis + 1 :]) for size in self.parts())


@dataclass(frozen=True, kw_only=True)
class Gather(Layer, kind="gather"):
    """The values at fixed positions of an axis, in the given order; a position may come more than once.

    Args:
        indices: The positions; negative ones count from the end.
        axis: In the canonical layout; 1 is the channel axis. Negative counts from the end.

    Shapes:
        (N, C, ...) -> (N, len(indices), ...) for ``axis`` 1. The gradient of a position sums over its copies.
    """

    indices: tuple[int, ...]
    axis: int = 1

    example = Example((1, 4, 6, 6), indices=(2, 0, 0))
    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        axis = resolve_axis(self.axis, len(inputs[0]))
        size = inputs[0][axis]
        if not self.indices or any(not -size <= i < size for i in self.indices):
            raise FieldError("indices", "do not fit the axis", received=self.indices, expected=f"{-size} to {size - 1}")
        return replace(self, axis=axis, indices=tuple(i % size for i in self.indices))

    def output_shapes(self, inputs: Shapes) -> Shapes:
        x = inputs[0]
        return ((*x[: self.axis], len(self.indices), *x[self.axis + 1 :]),)


@dataclass(frozen=True, kw_only=True)
class GatherIndices(Layer, kind="gather_indices"):
    """The values at positions that are an input: rows of a table (embedding), tokens of each image.

    Args:
        axis: Which axis of the first input the indices point into.
        shared_axes: How many leading axes (at most ``axis``) both inputs share, so that each image has its own
            indices: TensorFlow's ``batch_dims``. 0: the same indices for everything before ``axis``.

    Shapes:
        x (A..., n, B...), indices I (integers from 0 to n - 1; others are not checked) -> (A..., *I[shared_axes:],
        B...). With ``axis`` 0: (n, D), (N, T) -> (N, T, D). With 1 and 1 shared: (N, n, D), (N, K) -> (N, K, D).
        The gradient of a position sums over those that read it. Source: ONNX's Gather, TensorFlow's ``tf.gather``.
    """

    axis: int = 0
    shared_axes: int = 0

    example = Example((3, 4), (1, 5))
    num_inputs = (2, 2)
    int_inputs = (1,)
    moves = True
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        axis = resolve_axis(self.axis, len(inputs[0]))
        shared = self.shared_axes
        if not 0 <= shared <= min(axis, len(inputs[1])) or inputs[0][:shared] != inputs[1][:shared]:
            raise SpecError(
                "the inputs do not share their leading axes",
                received=f"shared_axes {shared} of {inputs[0]} and {inputs[1]}",
                expected=f"at most {axis} axes that are equal in both",
            )
        return replace(self, axis=axis)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        x, indices = inputs
        return ((*x[: self.axis], *indices[self.shared_axes :], *x[self.axis + 1 :]),)

    def num_indices(self, inputs: Shapes) -> int:
        return inputs[0][self.axis]


@dataclass(frozen=True, kw_only=True)
class Roll(Layer, kind="roll"):
    """Moves values along axes; those that leave at one end come back at the other.

    Args:
        shifts: For each of ``axes``: output[i] = input[(i - shift) mod size], so that positive numbers move values
            to larger positions (NumPy's ``roll``, PyTorch's ``roll``).
        axes: Axes of the canonical layout; negative ones count from the end.

    Shapes: any -> the same.
    """

    shifts: tuple[int, ...]
    axes: tuple[int, ...]

    example = Example((1, 4, 6, 6), shifts=(1,), axes=(2,))
    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        if len(self.shifts) != len(self.axes):
            raise FieldError(
                "shifts", "and axes differ in length", received=self.shifts, expected=f"{len(self.axes)} integers"
            )
        return replace(self, axes=resolve_axes(self.axes, len(inputs[0])))
