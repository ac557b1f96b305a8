"""Depthwise separable convolution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.base import Example, Shapes, require_int, require_rank
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.layers.windows import (
    Padding,
    PerAxis,
)


@dataclass(frozen=True, kw_only=True)
class DepthwiseSeparableConv(Composite, kind="depthwise_separable_conv"):
    """A convolution of each channel by itself, then a 1x1 convolution over channels, nothing between them.

    Args:
        out_channels: Of the pointwise convolution.
        kernel_size, stride, padding, dilation: Of the depthwise convolution, as ``conv``.
        multiplier: Depthwise outputs per input channel; those of channel c are c m to c m + m - 1.
        bias: Whether the pointwise convolution has a bias; the depthwise one has none (Keras' SeparableConv).

    Shapes:
        (N, C, *spatial) -> (N, out_channels, *out), out as ``conv``.

    Weights:
        depthwise.weight (C m, 1, *kernel), pointwise.weight (out_channels, C m, 1, ...), pointwise.bias.

    Source: Chollet, "Xception" (2016), section 1; MobileNets put a batch norm and a ReLU between the two, as nodes.
    """

    out_channels: int
    kernel_size: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    multiplier: int = 1
    bias: bool = True

    example = Example((1, 4, 6, 6), out_channels=6, kernel_size=3, padding=1)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        require_int(self.out_channels, "out_channels", least=1)
        require_int(self.multiplier, "multiplier", least=1)
        depthwise = self._depthwise(inputs[0][1]).resolve(inputs)
        return replace(
            self,
            kernel_size=depthwise.kernel_size,
            stride=depthwise.stride,
            padding=depthwise.padding,
            dilation=depthwise.dilation,
        )

    def _depthwise(self, channels: int) -> Conv:
        return Conv(
            out_channels=channels * self.multiplier,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=channels,
            bias=False,
        )

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = builder.add("depthwise", self._depthwise(inputs[0].channels), inputs[0])
        return builder.add("pointwise", Conv(out_channels=self.out_channels, kernel_size=1, bias=self.bias), x)
