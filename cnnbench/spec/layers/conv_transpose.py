"""Transposed convolution in 1, 2 and 3 dimensions: the adjoint of convolution, which upsamples."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import ZEROS, Initializer, Shape, Signal, WeightSpec
from cnnbench.spec.layers.base import Example, Layer, Shapes, Window, require_rank
from cnnbench.spec.layers.conv import require_groups
from cnnbench.spec.layers.signals import BIASED
from cnnbench.spec.layers.windows import (
    Padding,
    PaddingPairs,
    PerAxis,
    effective_size,
    per_axis,
    require_axes,
    require_pairs,
    resolve_padding,
)


@dataclass(frozen=True, kw_only=True)
class ConvTranspose(Layer, kind="conv_transpose"):
    """Each input value lays its weighted kernel onto the output, a stride apart; overlapping kernels add up.

    full[n, o, p s + k d] += w[c, o mod O/G, k] x[n, c, p] over the channels c of o's group; then ``begin`` positions
    are cropped before and ``end`` after, ``output_padding`` positions follow, and the bias is added everywhere. It is
    the gradient of ``conv`` with the same fields with respect to its input.

    Args:
        out_channels: O.
        kernel_size, stride, dilation: One integer for all spatial axes or one each.
        padding: What is *cropped* from the full output: an integer, one each, explicit ``((begin, end), ...)``,
            ``"same"``, ``"same_lower"`` or ``"valid"`` (nothing). ``"same"`` gives size * stride positions, as
            TensorFlow: max(d (k - 1) + 1 - s, 0) are cropped, an odd one at the end (``"same_lower"``: at the
            beginning), and where kernels do not meet (d (k - 1) + 1 < s) zeros follow.
        output_padding: Positions kept of what is cropped at the end, or zeros beyond it. PyTorch admits less than
            max(stride, dilation); any number will do here. TensorFlow's VALID with k < s is output_padding s - k.
        groups: G, which divides both channel counts.
        bias: Whether a bias is added.

    Shapes:
        (N, C, *spatial) -> (N, O, *out), out = (size - 1) s + d (k - 1) + 1 - begin - end + output_padding.

    Weights:
        weight (C, O/G, *kernel) as PyTorch and ONNX (TensorFlow: (*kernel, O, C)), bias (O,).

    MACs: input positions times kernel: N prod(spatial) C O/G prod(kernel), what is cropped included.

    Initialisation: weights Kaiming normal over the products that meet in one output, bias zero.

    Source: Zeiler et al., "Deconvolutional networks" (2010); Dumoulin, Visin, "A guide to convolution arithmetic for
    deep learning" (2016), section 4.
    """

    out_channels: int
    kernel_size: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    output_padding: PerAxis = 0
    dilation: PerAxis = 1
    groups: int = 1
    bias: bool = True

    example = Example((1, 4, 6, 6), out_channels=6, kernel_size=3, stride=2)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        channels, *rest = inputs[0][1:]
        axes = len(rest)
        require_groups(self.groups, channels, self.out_channels)
        kernel = per_axis(self.kernel_size, axes, "kernel_size", least=1)
        stride = per_axis(self.stride, axes, "stride", least=1)
        dilation = per_axis(self.dilation, axes, "dilation", least=1)
        extra = per_axis(self.output_padding, axes, "output_padding", least=0)
        if self.padding in ("same", "same_lower"):
            if any(extra):
                raise FieldError(
                    "output_padding",
                    "does not go with padding 'same'",
                    received=f"output_padding={extra}",
                    expected="0: the output is size * stride",
                    remedy="give the padding as explicit pairs",
                )
            surplus = [effective_size(k, d) - s for k, d, s in zip(kernel, dilation, stride, strict=True)]
            padding = tuple(_halves(max(number, 0), lower=self.padding == "same_lower") for number in surplus)
            extra = tuple(max(-number, 0) for number in surplus)
        else:
            padding = resolve_padding(self.padding, tuple(rest), kernel, stride, dilation)
        resolved = replace(
            self, kernel_size=kernel, stride=stride, dilation=dilation, padding=padding, output_padding=extra
        )
        resolved._check_sizes(inputs)
        return resolved

    def _check_sizes(self, inputs: Shapes) -> None:
        """Raises SpecError where nothing is left of the full output."""
        full, pairs = self.full_sizes(inputs[0][2:]), require_pairs(self.padding)
        for axis, size in enumerate(self.output_shapes(inputs)[0][2:]):
            if size < 1 or pairs[axis][0] >= full[axis]:
                raise FieldError(
                    "padding",
                    f"crops all of spatial axis {axis}, or more",
                    received=f"padding {pairs[axis]} of {full[axis]} positions, output size {size}",
                    expected="an output size of at least 1, and some of it from the input",
                    remedy="use less padding: here it takes away from the output",
                )

    def full_sizes(self, spatial: Shape) -> Shape:
        """The output's sizes before anything is cropped: (size - 1) s + d (k - 1) + 1."""
        window = self.taps()
        return tuple(
            (size - 1) * s + effective_size(k, d)
            for size, k, s, d in zip(spatial, window.kernel_size, window.stride, window.dilation, strict=True)
        )

    def borders(self) -> PaddingPairs:
        """(begin, end) of what is cropped from the full output; a negative end adds zeros."""
        extra = require_axes(self.output_padding)
        return tuple((begin, end - more) for (begin, end), more in zip(require_pairs(self.padding), extra, strict=True))

    def output_shapes(self, inputs: Shapes) -> Shapes:
        full = self.full_sizes(inputs[0][2:])
        sizes = (size - begin - end for size, (begin, end) in zip(full, self.borders(), strict=True))
        return ((inputs[0][0], self.out_channels, *sizes),)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        window = self.taps()
        channels = inputs[0][1]
        meeting = math.prod(-(-k // s) for k, s in zip(window.kernel_size, window.stride, strict=True))
        weight = WeightSpec(
            "weight",
            (channels, self.out_channels // self.groups, *window.kernel_size),
            Initializer("kaiming_normal", math.sqrt(2.0), channels // self.groups * meeting),
        )
        return (weight, WeightSpec("bias", (self.out_channels,), ZEROS, decay=False)) if self.bias else (weight,)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(inputs[0]) * (self.out_channels // self.groups) * math.prod(self.taps().kernel_size)

    def taps(self) -> Window:
        """The window that each input value lays onto the full output."""
        return Window(require_axes(self.kernel_size), require_axes(self.stride), require_axes(self.dilation))

    def window(self) -> Window:
        """What one output sees of the input: ceil((d (k - 1) + 1) / s) positions, one apart."""
        taps = self.taps()
        ones = (1,) * len(taps.kernel_size)
        axes = zip(taps.kernel_size, taps.stride, taps.dilation, strict=True)
        return Window(tuple(-(-effective_size(k, d) // s) for k, s, d in axes), ones, ones)

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(BIASED if self.bias else 1.0)


def _halves(total: int, *, lower: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)
