"""Correlation with a constant kernel, the same for every channel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, Window, require_rank
from cnnbench.spec.layers.windows import PerAxis, output_sizes, per_axis, require_axes


@dataclass(frozen=True, kw_only=True)
class ConstantFilter(Layer, kind="constant_filter"):
    """Correlates each channel with one constant kernel, without padding: y[n, c, i] = sum_k w[k] x[n, c, s i + k].

    Args:
        weights_row_major: w. They are part of the network, and neither trained nor loaded.
        kernel_size, stride: For each spatial axis; the stride is s.

    Shapes:
        (N, C, *spatial) -> (N, C, *floor((spatial - kernel_size) / stride) + 1).
    """

    weights_row_major: tuple[float, ...]
    kernel_size: tuple[int, ...]
    stride: PerAxis = 1

    example = Example((1, 4, 6, 6), weights_row_major=(0.25, 0.5, 0.25), kernel_size=(1, 3))
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], "constant_filter", least=3, most=5)
        num = len(inputs[0]) - 2
        size = per_axis(self.kernel_size, num, "kernel_size", least=1)
        if len(self.weights_row_major) != math.prod(size):
            raise FieldError(
                "weights_row_major",
                "does not fill the kernel",
                received=f"{len(self.weights_row_major)} numbers for {size}",
                expected=f"{math.prod(size)} numbers",
            )
        layer = replace(self, kernel_size=size, stride=per_axis(self.stride, num, "stride", least=1))
        layer.output_shapes(inputs)
        return layer

    def strides(self) -> Shape:
        """The stride for each spatial axis. The layer is resolved."""
        return require_axes(self.stride)

    def window(self) -> Window:
        return Window(self.kernel_size, self.strides(), (1,) * len(self.kernel_size))

    def output_shapes(self, inputs: Shapes) -> Shapes:
        window, none = self.window(), ((0, 0),) * len(self.kernel_size)
        return ((*inputs[0][:2], *output_sizes(inputs[0][2:], *window, none)),)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(outputs[0]) * len(self.weights_row_major)
