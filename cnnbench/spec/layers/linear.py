"""Fully connected layers: linear, and LeNet-5's radial basis output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.spec.layers.base import (
    Initializer,
    Layer,
    Shapes,
    WeightSpec,
    require_int,
    require_one_of,
    require_rank,
)


@dataclass(frozen=True, kw_only=True)
class Linear(Layer, kind="linear"):
    """y = x W^T + b over the last axis.

    Args:
        out_features: Length of the output's last axis.
        bias: Whether a bias is added.

    Shapes:
        (N, ..., I) -> (N, ..., O).

    Weights:
        weight (O, I), bias (O,).

    Initialisation: uniform in +-1/sqrt(I) for both (PyTorch's default).
    """

    out_features: int
    bias: bool = True

    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        require_int(self.out_features, "out_features", least=1)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((*inputs[0][:-1], self.out_features),)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        in_features = inputs[0][-1]
        initializer = Initializer("fan_in_uniform", 1.0, in_features)
        weight = WeightSpec("weight", (self.out_features, in_features), initializer)
        return (weight, WeightSpec("bias", (self.out_features,), initializer, decay=False)) if self.bias else (weight,)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(outputs[0]) * inputs[0][-1]

    def is_global(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class RadialBasis(Layer, kind="radial_basis"):
    """Squared Euclidean distance to one fixed prototype a class: d[n, o] = sum_i (x[n, i] - weight[o, i])^2.

    Args:
        out_features: The number of prototypes.
        output: ``"distance"`` gives d, as the paper; ``"logit"`` gives -d, so that the nearest class is the largest.
        trainable: Whether the prototypes are trained; in LeNet-5 they are fixed and count as buffers.

    Shapes:
        (N, I) -> (N, O).

    Weights:
        weight (O, I) of -1 and +1.

    Sources: LeCun et al. (1998), section II.B, equation 7. The paper draws stylised 7 x 12 bitmaps by hand
    (figure 3), which are not published as data; seeded signs stand for them.
    """

    out_features: int
    output: Literal["distance", "logit"] = "distance"
    trainable: bool = False

    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2, most=2)
        require_int(self.out_features, "out_features", least=1)
        require_one_of(self.output, "output", ("distance", "logit"))
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((inputs[0][0], self.out_features),)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        shape = (self.out_features, inputs[0][1])
        return (WeightSpec("weight", shape, Initializer("signs"), trainable=self.trainable, decay=False),)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(outputs[0]) * inputs[0][1]

    def is_global(self) -> bool:
        return True
