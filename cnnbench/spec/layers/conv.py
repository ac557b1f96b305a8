"""Convolutions: the general one in 1 to 3 dimensions, and LeNet-5's partially connected one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import ZEROS, Initializer, Shape, Signal, WeightSpec, kernels
from cnnbench.spec.layers.base import Example, Layer, Shapes, Window, require_int, require_rank
from cnnbench.spec.layers.signals import BIASED
from cnnbench.spec.layers.windows import (
    Padding,
    PerAxis,
    output_sizes,
    per_axis,
    require_axes,
    require_pairs,
    resolve_padding,
)


@dataclass(frozen=True, kw_only=True)
class Convolution(Layer):
    """What convolutions with a weight (O, C/G, *kernel) share: fields, shapes, counts."""

    out_channels: int
    kernel_size: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: int = 1
    bias: bool = True

    example = Example((1, 4, 6, 6), out_channels=6, kernel_size=3, padding=1)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        channels, *rest = inputs[0][1:]
        spatial = tuple(rest)
        axes = len(spatial)
        require_groups(self.groups, channels, self.out_channels)
        kernel = per_axis(self.kernel_size, axes, "kernel_size", least=1)
        stride = per_axis(self.stride, axes, "stride", least=1)
        dilation = per_axis(self.dilation, axes, "dilation", least=1)
        padding = resolve_padding(self.padding, spatial, kernel, stride, dilation)
        return replace(self, kernel_size=kernel, stride=stride, dilation=dilation, padding=padding)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        window = self.window()
        spatial = output_sizes(
            inputs[0][2:], window.kernel_size, window.stride, window.dilation, require_pairs(self.padding)
        )
        return ((inputs[0][0], self.out_channels, *spatial),)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        kernel = require_axes(self.kernel_size)
        fan_out = self.out_channels // self.groups * math.prod(kernel)
        weight = WeightSpec(
            "weight",
            (self.out_channels, inputs[0][1] // self.groups, *kernel),
            Initializer("kaiming_normal", math.sqrt(2.0), fan_out),
            general=kernels(inputs[0][1] // self.groups * math.prod(kernel)),
        )
        return (weight, WeightSpec("bias", (self.out_channels,), ZEROS, decay=False)) if self.bias else (weight,)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(outputs[0]) * (inputs[0][1] // self.groups) * math.prod(require_axes(self.kernel_size))

    def window(self) -> Window:
        return Window(require_axes(self.kernel_size), require_axes(self.stride), require_axes(self.dilation))

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(BIASED if self.bias else 1.0)


@dataclass(frozen=True, kw_only=True)
class Conv(Convolution, kind="conv"):
    """Cross-correlation of 1, 2 or 3 spatial axes, as deep learning calls convolution.

    y[n, o, p] = bias[o] + sum over c, k of w[o, c, k] x[n, g(o) C/G + c, p s + k d - begin], zero outside the input,
    where g(o) = floor(o G / O) is the group of output channel o.

    Args:
        out_channels: O.
        kernel_size, stride, dilation: One integer for all spatial axes or one each.
        padding: Zeros around the input: an integer, one each, explicit ``((begin, end), ...)``, ``"same"`` (output
            ceil(size / stride), an odd row at the end, as TensorFlow), ``"same_lower"`` (an odd row at the
            beginning) or ``"valid"``.
        groups: G, which divides both channel counts.
        bias: Whether a bias is added.
        flip_kernel: Convolution in the mathematical sense: w[o, c, K - 1 - k] in place of w[o, c, k] along every
            spatial axis (SciPy's ``convolve``, Theano, MatConvNet). Every framework here correlates.

    Shapes:
        (N, C, *spatial) -> (N, O, *out), out = floor((size + begin + end - d (k - 1) - 1) / s) + 1.

    Weights:
        weight (O, C/G, *kernel), bias (O,).

    Initialisation: weights Kaiming normal with fan-out (He et al. 2015, as torchvision's ResNet), bias zero.
    """

    flip_kernel: bool = False

    def correlated(self, weight: Any) -> Any:
        """The weight array by which cross-correlation computes this layer; its own inverse."""
        if not self.flip_kernel:
            return weight
        return weight[(slice(None), slice(None), *(slice(None, None, -1),) * (weight.ndim - 2))].copy()


def require_groups(groups: int, channels: int, out_channels: int) -> None:
    """Raises SpecError unless the output channels are positive and ``groups`` divides both counts.

    Args:
        groups: The number of groups.
        channels: Of the input.
        out_channels: Of the output.
    """
    require_int(out_channels, "out_channels", least=1)
    require_int(groups, "groups", least=1)
    for name, count in (("input channels", channels), ("out_channels", out_channels)):
        if count % groups:
            raise FieldError(
                "groups",
                f"does not divide the {name}",
                received=f"groups={groups}, {name} {count}",
                expected=f"a divisor of {count}",
            )


@dataclass(frozen=True, kw_only=True)
class PartialConv(Layer, kind="partial_conv"):
    """Convolution in which each output map sees only some input maps: C3 of LeNet-5.

    y[n, o] = bias[o] + sum over the connections j with output o of (weight[j] correlated with x[n, input of j]).

    Args:
        connections: For each output map, the input maps that it sees, in ascending order.
        kernel_size, stride, padding: As ``conv``.

    Shapes:
        (N, C, H, W) -> (N, O, H', W') with O = len(connections).

    Weights:
        weight (J, kh, kw), one kernel for each connection in the order of ``connections``; bias (O,).

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), table I.
    """

    connections: tuple[tuple[int, ...], ...]
    kernel_size: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0

    example = Example((1, 4, 6, 6), connections=((0,), (0, 2), (1, 2, 3)), kernel_size=3)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=4, most=4)
        spatial = inputs[0][2:]
        if not self.connections:
            raise FieldError("connections", "is empty", expected="one tuple of input maps for each output map")
        for output, seen in enumerate(self.connections):
            if not seen or list(seen) != sorted(set(seen)) or not 0 <= seen[0] <= seen[-1] < inputs[0][1]:
                raise FieldError(
                    "connections",
                    f"of output {output} are not valid",
                    received=seen,
                    expected=f"ascending, different input maps from 0 to {inputs[0][1] - 1}",
                )
        kernel = per_axis(self.kernel_size, 2, "kernel_size", least=1)
        stride = per_axis(self.stride, 2, "stride", least=1)
        padding = resolve_padding(self.padding, spatial, kernel, stride, (1, 1))
        return replace(self, kernel_size=kernel, stride=stride, padding=padding)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        window = self.window()
        spatial = output_sizes(inputs[0][2:], window.kernel_size, window.stride, (1, 1), require_pairs(self.padding))
        return ((inputs[0][0], len(self.connections), *spatial),)

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(output map, input map) of each connection, in weight order."""
        return tuple((output, seen) for output, row in enumerate(self.connections) for seen in row)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        kernel = require_axes(self.kernel_size)
        fan_in = max(len(row) for row in self.connections) * math.prod(kernel)
        return (
            WeightSpec("weight", (len(self.pairs()), *kernel), Initializer("fan_in_uniform", 1.0, fan_in)),
            WeightSpec("bias", (len(self.connections),), ZEROS, decay=False),
        )

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        batch, _, *spatial = outputs[0]
        return batch * math.prod(spatial) * len(self.pairs()) * math.prod(require_axes(self.kernel_size))

    def window(self) -> Window:
        return Window(require_axes(self.kernel_size), require_axes(self.stride), (1, 1))


def connection_shape(layer: PartialConv, in_channels: int) -> Shape:
    """Shape of the dense weight (O, C, kh, kw) that a partial convolution is equal to, absent connections zero."""
    return (len(layer.connections), in_channels, *require_axes(layer.kernel_size))
