"""Caffe's response normalisation within a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import FieldError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Affine, Elementwise, Power
from cnnbench.spec.layers.base import Shapes, require_int, require_rank
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.pooling import AvgPool


@dataclass(frozen=True, kw_only=True)
class WithinChannelResponseNorm(Composite, kind="within_channel_response_norm"):
    """y = x (1 + alpha m)^-beta, m the mean of x^2 over a window of each channel's own map.

    Args:
        size: Of the window, an odd number; positions beyond the edge count as zeros.
        alpha, beta: As in ``local_response_norm``, alpha divided by the number of positions.

    Shapes:
        (N, C, *spatial) -> the same.

    Source: Caffe's LRN layer with norm_region WITHIN_CHANNEL, after cuda-convnet's "local response normalization
    layer (same map)".
    """

    size: int = 3
    alpha: float = 5e-5
    beta: float = 0.75

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        require_int(self.size, "size", least=1)
        if self.size % 2 == 0 or not self.alpha >= 0:
            raise FieldError(
                "size", "or alpha is not valid", received=(self.size, self.alpha), expected="odd, and at least 0"
            )
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        y = builder.add("square", Elementwise(function="square"), inputs[0])
        y = builder.add("mean", AvgPool(kernel_size=self.size, stride=1, padding=self.size // 2), y)
        y = builder.add("shifted", Affine(scale=self.alpha, shift=1.0), y)
        y = builder.add("factor", Power(exponent=-self.beta), y)
        return builder.add("multiply", Multiply(), inputs[0], y)
