"""Convolutions whose weight is standardised on the fly: weight standardisation, plain and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import ONES, SCALES, Signal, WeightSpec
from cnnbench.spec.layers.base import Shapes, require_one_of
from cnnbench.spec.layers.conv import Conv, Convolution
from cnnbench.spec.layers.signals import BIASED


@dataclass(frozen=True, kw_only=True)
class ScaledWSConv(Convolution, kind="scaled_ws_conv"):
    """Convolution by a weight of mean 0 and fixed variance for each output channel.

    With m and v the mean and the *biased* variance of the K = C/G prod(kernel) values of one output channel,
    w^ = gain (w - m) / sqrt(D), and y = conv(x, w^) + bias.

    Args:
        out_channels, kernel_size, stride, padding, dilation, groups, bias: As ``conv``.
        form: What D is: ``"scaled"`` max(K v, eps), so that an output has its input's variance (NFNets);
            ``"scaled_sum"`` K (v + eps), the same with timm's eps; ``"standard"`` v + eps (plain weight
            standardisation).
        eps: A lower limit or an addend, as ``form`` says; 1e-4 in NFNets, 1e-6 in timm, 1e-10 in BiT.
        gain: Whether a trainable gain per output channel exists (NFNets: yes; plain: no).

    Shapes:
        (N, C, *spatial) -> (N, O, *out), out as ``conv``.

    Weights:
        weight (O, C/G, *kernel), bias (O,), gain (O,) starting at one.

    Source: Brock, De, Smith, "Characterizing signal propagation to close the performance gap in unnormalized
    ResNets" (2021), equation 2, with the epsilon of the authors' code; Qiao et al., "Micro-batch training with
    batch-channel normalization and weight standardization" (2019), equations 8 and 9.
    """

    form: Literal["scaled", "scaled_sum", "standard"] = "scaled"
    eps: float = 1e-4
    gain: bool = True

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.form, "form", ("scaled", "scaled_sum", "standard"))
        if not self.eps > 0:
            raise FieldError("eps", received=self.eps, expected="a positive number")
        return super().resolve(inputs)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        gain = WeightSpec("gain", (self.out_channels,), ONES, decay=False, general=SCALES)
        return (*super().weights(inputs), gain) if self.gain else super().weights(inputs)

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(inputs[0].square + (BIASED - 1.0) * self.bias)  # whatever scale its weights have

    def plain(self) -> Conv:
        """The convolution that runs on the standardised weight."""
        return Conv(
            out_channels=self.out_channels,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias,
        )
