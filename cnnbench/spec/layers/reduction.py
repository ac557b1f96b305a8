"""Reductions over any axes: sums, means, extremes, norms; positions of extremes; the largest few."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.axes import resolve_axis
from cnnbench.spec.layers.base import Dtypes, Example, Layer, Shapes, require_int

ReduceFunction = Literal["sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"]


@dataclass(frozen=True, kw_only=True)
class Reduce(Layer, kind="reduce"):
    """One value of all those along some axes.

    Args:
        function: ``sum``, ``mean``, ``max``, ``min``, ``prod``; ``l1`` sum |x|; ``l2`` sqrt(sum x^2); ``sum_square``
            sum x^2; ``log_sum`` log(sum x); ``log_sum_exp`` log(sum exp(x)), computed after subtracting the maximum.
        axes: Axes of the canonical layout, negative ones counted from the end, the batch axis among them where it is
            named. None: all of them; an empty list: none of them (NumPy's convention; PyTorch's is all).
        keepdims: Whether the axes stay, with size 1.

    Of no values at all ``sum`` and the norms are 0, ``prod`` 1, ``max`` and ``log_sum_exp`` -inf, ``min`` inf, ``mean``
    NaN. NaN wins ``max`` and ``min``. Values that share an extreme share its gradient equally (PyTorch's ``amax``, JAX
    and TensorFlow agree). ``l1`` has the gradient 0 at 0, and ``l2`` 0 where all values are 0 (PyTorch's convention;
    JAX and TensorFlow give NaN).

    Shapes:
        (N, C, H, W) with axes (2, 3) -> (N, C, 1, 1), or (N, C) without ``keepdims``.
    """

    function: ReduceFunction
    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    example = Example((1, 4, 6, 6), function="mean", axes=(2, 3))

    def resolve(self, inputs: Shapes) -> Self:
        rank = len(inputs[0])
        axes = tuple(range(rank)) if self.axes is None else tuple(resolve_axis(axis, rank) for axis in self.axes)
        if len(set(axes)) != len(axes):
            raise SpecError("an axis is named twice", received=self.axes, expected="each axis once")
        return replace(self, axes=tuple(sorted(axes)))

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (_without(inputs[0], self.reduced(len(inputs[0])), keepdims=self.keepdims),)

    def reduced(self, rank: int) -> tuple[int, ...]:
        """The axes that are reduced of a value of this rank."""
        return tuple(range(rank)) if self.axes is None else self.axes


@dataclass(frozen=True, kw_only=True)
class ArgReduce(Layer, kind="arg_reduce"):
    """The position of the largest or the smallest value along an axis, as an integer.

    Args:
        function: ``argmax`` or ``argmin``. NaN counts as the extreme.
        axis: Of the canonical layout; negative counts from the end.
        keepdims: Whether the axis stays, with size 1.
        select_last_index: Which one of several equal values: the first (all frameworks), or the last (ONNX).

    Shapes:
        (N, C, H, W) with axis 1 -> (N, 1, H, W), or (N, H, W) without ``keepdims``.
    """

    function: Literal["argmax", "argmin"]
    axis: int = 1
    keepdims: bool = True
    select_last_index: bool = False

    example = Example((1, 4, 6, 6), function="argmax")
    differentiable = False

    def resolve(self, inputs: Shapes) -> Self:
        axis = resolve_axis(self.axis, len(inputs[0]))
        if not inputs[0][axis]:
            raise SpecError("the axis has no values", received=inputs[0], expected=f"a size of axis {axis} above 0")
        return replace(self, axis=axis)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (_without(inputs[0], (self.axis,), keepdims=self.keepdims),)

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        return ("int",)


@dataclass(frozen=True, kw_only=True)
class TopK(Layer, kind="top_k"):
    """The k largest or smallest values along an axis in order, and their positions as integers.

    Args:
        k: How many; at most the axis' size.
        axis: Of the canonical layout; negative counts from the end.
        largest: The largest, from the largest on; else the smallest, from the smallest on.

    Of equal values the one at the lower position comes first (TensorFlow, JAX and ONNX; PyTorch leaves it open, our op
    does not). The gradient of a value goes to where it came from.

    Shapes:
        (N, C) with axis 1 -> values (N, k) and indices (N, k).
    """

    k: int
    axis: int = -1
    largest: bool = True

    example = Example((1, 10), k=4)

    def resolve(self, inputs: Shapes) -> Self:
        axis = resolve_axis(self.axis, len(inputs[0]))
        if require_int(self.k, "k", least=1) > inputs[0][axis]:
            raise FieldError("k", received=self.k, expected=f"at most {inputs[0][axis]}, the axis' size")
        return replace(self, axis=axis)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        shape = (*inputs[0][: self.axis], self.k, *inputs[0][self.axis + 1 :])
        return (shape, shape)

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        return ("float", "int")


def _without(shape: Shape, axes: tuple[int, ...], *, keepdims: bool) -> Shape:
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)
