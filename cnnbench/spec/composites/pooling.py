"""LeNet-5's trainable subsampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.base import Shapes, require_rank
from cnnbench.spec.layers.normalization import ChannelAffine
from cnnbench.spec.layers.pooling import (
    AvgPool,
)
from cnnbench.spec.layers.windows import (
    PerAxis,
    per_axis,
)


@dataclass(frozen=True, kw_only=True)
class TrainableSubsample(Composite, kind="trainable_subsample"):
    """LeNet-5's subsampling: the sum of a window, times a trainable coefficient a channel, plus a trainable bias.

    Args:
        kernel_size: The window, which is also the stride.

    Shapes:
        (N, C, H, W) -> (N, C, floor(H / k), floor(W / k)).

    Weights:
        affine.weight (C,), affine.bias (C,).

    Source: LeCun et al. (1998), section II.B, layers S2 and S4 (the squashing function is a layer of its own).
    """

    kernel_size: PerAxis = 2

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        return replace(self, kernel_size=per_axis(self.kernel_size, len(inputs[0]) - 2, "kernel_size", least=1))

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        pooled = builder.add("sum", AvgPool(kernel_size=self.kernel_size, divisor=1), inputs[0])
        return builder.add("affine", ChannelAffine(), pooled)
