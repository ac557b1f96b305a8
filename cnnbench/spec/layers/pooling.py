"""Pooling: max, min, average, global, adaptive, and plain subsampling."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, Window, require_int, require_rank
from cnnbench.spec.layers.windows import (
    Padding,
    PerAxis,
    empty_window,
    output_sizes,
    per_axis,
    require_axes,
    require_pairs,
    resolve_padding,
)


@dataclass(frozen=True, kw_only=True)
class WindowPool(Layer):
    """What pooling by a sliding window shares: fields, shapes, and that every window sees some of the input."""

    kernel_size: PerAxis
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil_mode: bool = False

    example = Example((1, 4, 6, 6), kernel_size=3, stride=2, padding=1)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        spatial = inputs[0][2:]
        kernel = per_axis(self.kernel_size, len(spatial), "kernel_size", least=1)
        stride = kernel if self.stride is None else per_axis(self.stride, len(spatial), "stride", least=1)
        dilation = per_axis(self.dilation, len(spatial), "dilation", least=1)
        padding = resolve_padding(self.padding, spatial, kernel, stride, dilation)
        resolved = replace(self, kernel_size=kernel, stride=stride, dilation=dilation, padding=padding)
        resolved._check_windows(inputs)
        return resolved

    def _check_windows(self, inputs: Shapes) -> None:
        """Raises SpecError where a window sees padding only: its maximum or mean would be of nothing."""
        counts = self.output_shapes(inputs)[0][2:]
        pairs = require_pairs(self.padding)
        for axis, (size, count, (begin, _)) in enumerate(zip(inputs[0][2:], counts, pairs, strict=True)):
            k, s, d = (numbers[axis] for numbers in self.window())
            index = empty_window(size, count, k, s, d, begin)
            if index is not None:
                raise FieldError(
                    "padding",
                    f"fills window {index} of spatial axis {axis}, which would see no input",
                    received=f"size {size}, padding {pairs[axis]}, kernel_size {k}, dilation {d}",
                    expected=f"at most {d * (k - 1)} on each side, and a dilation that fits the input",
                )

    def output_shapes(self, inputs: Shapes) -> Shapes:
        window = self.window()
        spatial = output_sizes(
            inputs[0][2:],
            window.kernel_size,
            window.stride,
            window.dilation,
            require_pairs(self.padding),
            ceil_mode=self.ceil_mode,
        )
        return ((*inputs[0][:2], *spatial),)

    def window(self) -> Window:
        return Window(require_axes(self.kernel_size), require_axes(self.stride), require_axes(self.dilation))


@dataclass(frozen=True, kw_only=True)
class MaxPool(WindowPool, kind="max_pool"):
    """Maximum over a window; padding never wins (it counts as minus infinity).

    Args:
        kernel_size, stride, dilation: One integer for all spatial axes or one each; ``stride`` defaults to
            ``kernel_size``.
        padding: As ``conv``; every window must see some of the input, so at most d (k - 1) on each side.
        ceil_mode: Round the output size up; a last window that would start beyond the input is dropped
            (PyTorch's rule). Caffe's pooling rounds up.

    Shapes:
        (N, C, *spatial) -> (N, C, *out).

    NaN in a window gives NaN. The gradient goes to the first maximum of the window in row-major order.
    """


@dataclass(frozen=True, kw_only=True)
class MinPool(WindowPool, kind="min_pool"):
    """Minimum over a window; padding never wins (it counts as plus infinity).

    Args:
        kernel_size, stride, padding, dilation, ceil_mode: As ``max_pool``; it is -max_pool(-x).

    Shapes: as ``max_pool``. NaN in a window gives NaN. The gradient goes to the first
    minimum of the window in row-major order.
    """

    def maximum(self) -> MaxPool:
        """The max pooling of the same windows."""
        return MaxPool(**{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class AvgPool(WindowPool, kind="avg_pool"):
    """Mean over a window.

    Args:
        kernel_size, stride, dilation, padding, ceil_mode: As ``max_pool``; ``dilation`` must be 1.
        count_include_pad: Whether padded positions count in the divisor (PyTorch's default; TensorFlow never
            counts them). With ``ceil_mode``, positions beyond the padding never count.
        divisor: A fixed divisor instead of the number of positions; 1 gives the sum.

    Shapes:
        (N, C, *spatial) -> (N, C, *out).
    """

    count_include_pad: bool = True
    divisor: int | None = None

    def resolve(self, inputs: Shapes) -> Self:
        resolved = super().resolve(inputs)
        if any(d != 1 for d in resolved.window().dilation):
            raise SpecError("average pooling has no dilation", received=self.dilation, expected=1)
        if self.divisor is not None:
            require_int(self.divisor, "divisor", least=1)
        return resolved


@dataclass(frozen=True, kw_only=True)
class GlobalAvgPool(Layer, kind="global_avg_pool"):
    """Mean over all spatial positions.

    Args:
        keep_spatial: Keep the spatial axes with size 1.

    Shapes:
        (N, C, *spatial) -> (N, C), or (N, C, 1, ...) with ``keep_spatial``.

    Source: Lin, Chen, Yan, "Network in network" (2013), section 3.2.
    """

    keep_spatial: bool = False

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((*inputs[0][:2], *((1,) * (len(inputs[0]) - 2) if self.keep_spatial else ())),)

    def is_global(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class GlobalMaxPool(GlobalAvgPool, kind="global_max_pool"):
    """Maximum over all spatial positions.

    Args:
        keep_spatial: Keep the spatial axes with size 1.

    Shapes:
        (N, C, *spatial) -> (N, C), or (N, C, 1, ...) with ``keep_spatial``.
    """


@dataclass(frozen=True, kw_only=True)
class AdaptiveAvgPool(Layer, kind="adaptive_avg_pool"):
    """Mean over windows chosen such that the output has a given size.

    Output i of an axis averages input positions floor(i size / out) up to ceil((i + 1) size / out), exclusive.

    Args:
        output_size: One integer for all spatial axes or one each.

    Shapes:
        (N, C, *spatial) -> (N, C, *output_size).

    Source: PyTorch's AdaptiveAvgPool.
    """

    output_size: PerAxis

    example = Example((1, 4, 6, 6), output_size=(2, 3))
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        return replace(self, output_size=per_axis(self.output_size, len(inputs[0]) - 2, "output_size", least=1))

    def sizes(self) -> Shape:
        """The output size of each axis of a resolved layer."""
        return require_axes(self.output_size)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((*inputs[0][:2], *self.sizes()),)

    def window_on(self, inputs: Shapes) -> Window:
        """The largest of the windows; their mean distance, rounded down, is the stride."""
        spatial, sizes = inputs[0][2:], self.sizes()
        kernel = tuple(
            max(-(-(i + 1) * n // out) - i * n // out for i in range(out))
            for n, out in zip(spatial, sizes, strict=True)
        )
        stride = tuple(max(n // out, 1) for n, out in zip(spatial, sizes, strict=True))
        return Window(kernel, stride, (1,) * len(sizes))

    def is_global(self) -> bool:
        return all(size == 1 for size in self.sizes())


@dataclass(frozen=True, kw_only=True)
class Subsample(Layer, kind="subsample"):
    """Keeps every s-th position of each spatial axis, starting at the first.

    Args:
        stride: s, one integer for all spatial axes or one each.

    Shapes:
        (N, C, *spatial) -> (N, C, *ceil(spatial / stride)).

    Source: the identity shortcut (option A) of He et al., "Deep residual learning" (2015), section 4.2.
    """

    stride: PerAxis

    example = Example((1, 4, 6, 6), stride=2)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        return replace(self, stride=per_axis(self.stride, len(inputs[0]) - 2, "stride", least=1))

    def strides(self) -> Shape:
        """The stride of each axis of a resolved layer."""
        return require_axes(self.stride)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        spatial = tuple(-(-size // s) for size, s in zip(inputs[0][2:], self.strides(), strict=True))
        return ((*inputs[0][:2], *spatial),)

    def window(self) -> Window:
        ones = (1,) * len(self.strides())
        return Window(ones, self.strides(), ones)
