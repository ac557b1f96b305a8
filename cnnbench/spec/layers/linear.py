"""Matrix products: fully connected layers, products of two activations, and LeNet-5's radial basis output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.layers.arrays import SHIFTS, Initializer, Shape, Signal, WeightSpec
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.merge import broadcast_shape
from cnnbench.spec.layers.signals import BIASED


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

    example = Example((1, 4), out_features=3)
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
        bias = WeightSpec("bias", (self.out_features,), initializer, decay=False, general=SHIFTS)
        return (weight, bias) if self.bias else (weight,)

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(outputs[0]) * inputs[0][-1]

    def is_global(self) -> bool:
        return True

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(BIASED if self.bias else 1.0)


@dataclass(frozen=True, kw_only=True)
class MatMul(Layer, kind="matmul"):
    """The matrix product of two values over their last two axes, as attention has it; leading axes broadcast.

    Args:
        transpose_a, transpose_b: Whether the last two axes of a value are exchanged before.

    Shapes:
        (..., I, K) and (..., K, J) -> (..., I, J); the leading axes by NumPy's rule: sizes equal or 1, missing ones 1.

    Its products count as ``macs_attention``, apart from those with weights. In narrow types each sum is held in
    float32 and rounded once.
    """

    transpose_a: bool = False
    transpose_b: bool = False

    example = Example((4, 5), (5, 6))
    num_inputs = (2, 2)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        for shape in inputs:
            require_rank(shape, self.kind, least=2)
        first, second = self._matrices(inputs)
        if first[-1] != second[-2]:
            raise SpecError(
                "the matrices do not fit",
                received=inputs,
                expected=f"{first[-1]} rows of the second matrix, as many as the first has columns",
                remedy="exchange axes by transpose_a or transpose_b",
            )
        self._leading(inputs)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        first, second = self._matrices(inputs)
        return ((*self._leading(inputs), first[-2], second[-1]),)

    def macs_attention(self, inputs: Shapes, outputs: Shapes) -> int:
        return math.prod(outputs[0]) * self._matrices(inputs)[0][-1]

    def is_global(self) -> bool:
        return True

    def _matrices(self, inputs: Shapes) -> Shapes:
        flags = (self.transpose_a, self.transpose_b)
        return tuple(s[-1:-3:-1] if flag else s[-2:] for s, flag in zip(inputs, flags, strict=True))

    def _leading(self, inputs: Shapes) -> Shape:
        rank = max(map(len, inputs)) - 2
        return broadcast_shape(tuple((*(1,) * (rank + 2 - len(shape)), *shape[:-2]) for shape in inputs))


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

    example = Example((1, 10), out_features=5)
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
