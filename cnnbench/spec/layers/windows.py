"""Arithmetic of sliding windows: per-axis numbers, padding, output sizes; shared by convolution and pooling."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import require_int

PerAxis = int | tuple[int, ...]
PaddingPairs = tuple[tuple[int, int], ...]
Padding = int | tuple[int, ...] | PaddingPairs | Literal["same", "same_lower", "valid"]


def per_axis(value: Any, num_axes: int, field: str, *, least: int) -> tuple[int, ...]:
    """One integer per spatial axis from an integer or a tuple of them.

    Args:
        value: An integer for every axis, or a tuple with one for each.
        num_axes: The number of spatial axes.
        field: What the error calls the value.
        least: The smallest integer that is valid.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,) * num_axes
    if not isinstance(value, tuple) or len(value) != num_axes:
        raise FieldError(
            field,
            f"does not fit {num_axes} spatial axes",
            received=repr(value),
            expected=f"an integer or {num_axes} integers",
        )
    return tuple(require_int(item, field, least=least) for item in value)


def effective_size(kernel_size: int, dilation: int) -> int:
    """Extent of a dilated kernel: d (k - 1) + 1."""
    return dilation * (kernel_size - 1) + 1


def same_padding(size: int, kernel_size: int, stride: int, dilation: int, *, lower: bool) -> tuple[int, int]:
    """Padding that makes the output ceil(size / stride) long.

    total = max((ceil(size / s) - 1) s + d (k - 1) + 1 - size, 0). An odd total puts its extra row at the end
    (TensorFlow's SAME, ONNX's SAME_UPPER), or at the beginning if ``lower`` (SAME_LOWER).

    Args:
        size: Of the input along the axis.
        kernel_size: k, the number of taps of a window.
        stride: s, the step from one window to the next.
        dilation: d, the step from one tap to the next.
        lower: Whether an odd total puts its extra row at the beginning.
    """
    total = max((-(-size // stride) - 1) * stride + effective_size(kernel_size, dilation) - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def resolve_padding(
    padding: Padding, spatial: Shape, kernel_size: Shape, stride: Shape, dilation: Shape
) -> PaddingPairs:
    """Explicit (begin, end) padding per axis from integers, pairs, ``"same"``, ``"same_lower"`` or ``"valid"``.

    Args:
        padding: As a layer's field has it.
        spatial: The sizes of the input's spatial axes.
        kernel_size: The number of taps of a window along each.
        stride: The step from one window to the next along each.
        dilation: The step from one tap to the next along each.
    """
    num_axes = len(spatial)
    if padding == "valid":
        return ((0, 0),) * num_axes
    if padding in ("same", "same_lower"):
        return tuple(
            same_padding(size, k, s, d, lower=padding == "same_lower")
            for size, k, s, d in zip(spatial, kernel_size, stride, dilation, strict=True)
        )
    if isinstance(padding, tuple) and padding and isinstance(padding[0], tuple):
        pairs = tuple(per_axis(pair, 2, "padding", least=0) for pair in padding)
        if len(pairs) != num_axes:
            raise FieldError(
                "padding",
                f"does not fit {num_axes} spatial axes",
                received=repr(padding),
                expected=f"{num_axes} pairs (begin, end)",
            )
        return tuple((begin, end) for begin, end in pairs)
    if isinstance(padding, str):
        raise FieldError("padding", received=repr(padding), expected="'same', 'same_lower', 'valid' or integers")
    return tuple((p, p) for p in per_axis(padding, num_axes, "padding", least=0))


def output_size(
    size: int, kernel_size: int, stride: int, dilation: int, padding: tuple[int, int], *, ceil_mode: bool = False
) -> int:
    """floor((size + begin + end - d (k - 1) - 1) / s) + 1.

    With ``ceil_mode`` the quotient is rounded up, and a last window that would start beyond the input and its
    leading padding is dropped (PyTorch's and ONNX's rule).

    Args:
        size: Of the input along the axis.
        kernel_size: k, the number of taps of a window.
        stride: s, the step from one window to the next.
        dilation: d, the step from one tap to the next.
        padding: The positions added at its begin and at its end.
        ceil_mode: Whether the quotient is rounded up.
    """
    span = size + sum(padding) - effective_size(kernel_size, dilation)
    if not ceil_mode:
        return span // stride + 1
    count = -(-span // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding[0] else count


def output_sizes(
    spatial: Shape,
    kernel_size: Shape,
    stride: Shape,
    dilation: Shape,
    padding: PaddingPairs,
    *,
    ceil_mode: bool = False,
) -> Shape:
    """``output_size`` for every axis; raises SpecError where a window does not fit its padded input.

    Args:
        spatial: The sizes of the input's spatial axes.
        kernel_size: The number of taps of a window along each.
        stride: The step from one window to the next along each.
        dilation: The step from one tap to the next along each.
        padding: The positions added at the begin and at the end of each.
        ceil_mode: As in ``output_size``.
    """
    sizes = tuple(
        output_size(n, k, s, d, p, ceil_mode=ceil_mode)
        for n, k, s, d, p in zip(spatial, kernel_size, stride, dilation, padding, strict=True)
    )
    for axis, count in enumerate(sizes):
        if count < 1:
            raise SpecError(
                f"the window does not fit the input on spatial axis {axis}",
                received=f"size {spatial[axis]} with padding {padding[axis]}",
                expected=f"at least {effective_size(kernel_size[axis], dilation[axis])} in all",
                remedy="use a smaller kernel or dilation, more padding, or a larger image",
            )
    return sizes


def require_pairs(padding: Any) -> PaddingPairs:
    """The padding of a resolved layer, which is always pairs."""
    if not (isinstance(padding, tuple) and all(isinstance(pair, tuple) for pair in padding)):
        raise SpecError("the layer is not resolved", received=repr(padding), expected="explicit padding pairs")
    return padding


def require_axes(value: PerAxis | None) -> tuple[int, ...]:
    """The numbers per axis of a resolved layer, which are always a tuple."""
    if not isinstance(value, tuple):
        raise SpecError("the layer is not resolved", received=repr(value), expected="one integer for each axis")
    return value


def empty_window(size: int, count: int, kernel_size: int, stride: int, dilation: int, begin: int) -> int | None:
    """The index of the first of ``count`` windows that sees padding only, None where each sees the input.

    Args:
        size: Of the input along the axis.
        count: The number of windows, which is the output's size.
        kernel_size: The number of taps of a window.
        stride: The step from one window to the next.
        dilation: The step from one tap to the next.
        begin: The positions of padding before the input.
    """

    def sees_input(index: int) -> bool:
        first = index * stride - begin
        earliest = max(0, -(first // dilation))  # the first tap at or after the input's begin
        return earliest < kernel_size and first + earliest * dilation < size

    # Windows that begin within the input see it. Of those before, the first is the furthest away; the rest differ from
    # it only where the taps' gaps are wider than the input, by the remainder of their begin. Sizes may be huge.
    inside = -(-begin // stride)
    beyond = max(inside, (size - 1 + begin) // stride + 1)
    before = min(inside, count, dilation if size < dilation else 1)
    asked = itertools.chain(range(before), range(beyond, count))
    return next((index for index in asked if not sees_input(index)), None)
