"""Layers that take part of their input: slice, crop, split, gather, roll."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.activation import resolve_axis
from cnnbench.spec.layers.base import Layer, Shape, Shapes, require_int
from cnnbench.spec.layers.composite import Composite
from cnnbench.spec.layers.shape import Pad

if TYPE_CHECKING:
    from cnnbench.spec.graph import Builder, Value


def resolve_axes(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Different axes counted from the front; raises SpecError where the rank lacks one or one is named twice."""
    found = tuple(resolve_axis(axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise SpecError("an axis is named twice", received=axes, expected="different axes")
    return found


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
            raise SpecError("steps are not valid", received=steps, expected="integers other than 0")
        return replace(self, steps=steps, axes=resolve_axes(axes, rank))

    def ranges(self, source: Shape) -> dict[int, range]:
        """For each sliced axis, the positions that are taken."""
        rows = zip(self.axes or (), self.starts, self.ends, self.steps or (), strict=True)
        return {axis: range(source[axis])[slice(start, end, step)] for axis, start, end, step in rows}

    def output_shapes(self, inputs: Shapes) -> Shapes:
        taken = self.ranges(inputs[0])
        return (tuple(len(taken[axis]) if axis in taken else size for axis, size in enumerate(inputs[0])),)


@dataclass(frozen=True, kw_only=True)
class Crop(Composite, kind="crop"):
    """A part of the image.

    Args:
        size: Of the part, for each spatial axis.
        offset: Where it begins, for each spatial axis; ``center`` leaves floor((input - size) / 2) before it, and an
            odd row after it (TensorFlow's and ONNX's centre; torchvision rounds that half to even).

    Shapes:
        (N, C, *spatial) -> (N, C, *size).
    """

    size: tuple[int, ...]
    offset: tuple[int, ...] | Literal["center"] = "center"

    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        spatial = inputs[0][2:]
        _require_sizes(self.size, spatial)
        offset = self._offset(spatial)
        fits = len(offset) == len(spatial) and all(
            0 <= begin <= n - size for begin, size, n in zip(offset, self.size, spatial, strict=True)
        )
        if not fits:
            raise SpecError(
                "the part does not lie within the image",
                received=f"size {self.size} at {self.offset}",
                expected=f"within {spatial}",
            )
        return self

    def _offset(self, spatial: Shape) -> Shape:
        if self.offset != "center":
            return self.offset
        return tuple((n - size) // 2 for n, size in zip(spatial, self.size, strict=True))

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        offset = self._offset(inputs[0].shape[2:])
        ends = tuple(begin + size for begin, size in zip(offset, self.size, strict=True))
        axes = tuple(range(2, 2 + len(ends)))
        return builder.add("slice", Slice(starts=offset, ends=ends, axes=axes), inputs[0])


@dataclass(frozen=True, kw_only=True)
class CenterCropPad(Composite, kind="center_crop_pad"):
    """The image cut or surrounded by zeros to a size, its centre staying where it is.

    Args:
        size: For each spatial axis. Of an odd difference the larger half is cut or added at the end.

    Shapes:
        (N, C, *spatial) -> (N, C, *size). Source: ONNX's CenterCropPad.
    """

    size: tuple[int, ...]

    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        _require_sizes(self.size, inputs[0][2:])
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        smaller = tuple(min(n, size) for n, size in zip(x.shape[2:], self.size, strict=True))
        x = builder.add("crop", Crop(size=smaller), x)
        missing = [size - n for size, n in zip(self.size, smaller, strict=True)]
        pairs = tuple((count // 2, count - count // 2) for count in missing)
        return builder.add("pad", Pad(padding=((0, 0), *pairs)), x)


def _require_sizes(size: tuple[int, ...], spatial: Shape) -> None:
    if len(size) != len(spatial) or any(n < 1 for n in size):
        raise SpecError("size does not fit the image", received=size, expected=f"{len(spatial)} integers of at least 1")


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
            raise SpecError(
                "sizes do not fit the axis", received=self.sizes, expected=f"integers of at least 1 with sum {total}"
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

    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        axis = resolve_axis(self.axis, len(inputs[0]))
        size = inputs[0][axis]
        if not self.indices or any(not -size <= i < size for i in self.indices):
            raise SpecError("indices do not fit the axis", received=self.indices, expected=f"{-size} to {size - 1}")
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

    moves = True

    def resolve(self, inputs: Shapes) -> Self:
        if len(self.shifts) != len(self.axes):
            raise SpecError(
                "shifts and axes differ in length", received=self.shifts, expected=f"{len(self.axes)} integers"
            )
        return replace(self, axes=resolve_axes(self.axes, len(inputs[0])))
