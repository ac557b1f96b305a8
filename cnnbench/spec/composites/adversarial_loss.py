"""Losses of two adversaries: what a discriminator's judgements should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.element_loss import reduced
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.base import Example, Shapes, require_one_of
from cnnbench.spec.layers.merge import Add
from cnnbench.spec.layers.smooth import Softplus


@dataclass(frozen=True, kw_only=True)
class LeastSquaresGAN(Composite, kind="least_squares_gan"):
    """scale (D - label)^2, a discriminator's judgements against what they should be.

    Args:
        label: 1 for images that should be judged real, 0 for fakes.
        scale: 1/2 (arXiv:1611.04076, equation 2); CycleGAN has 1.
        reduction: As ``ElementLoss``, without weights.

    Shapes: judgements S -> S for ``none``, else ().
    """

    label: float
    scale: float = 0.5
    reduction: Literal["none", "mean", "sum", "batch_mean"] = "mean"

    example = Example((1, 1, 4, 5), label=1.0)

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.reduction, "reduction", ("none", "mean", "sum", "batch_mean"))
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        distance = builder.add("distance", Affine(shift=-self.label), inputs[0])
        square = builder.add("square", Elementwise(function="square"), distance)
        return reduced(builder, builder.add("element", Affine(scale=self.scale), square), self.reduction)


@dataclass(frozen=True, kw_only=True)
class NonSaturatingGAN(Composite, kind="non_saturating_gan"):
    """-t log s(D) - (1 - t) log(1 - s(D)) of a discriminator's logits D, t one label for all, s the sigmoid.

    It is computed as t softplus(-D) + (1 - t) softplus(D), which neither overflows nor cancels.

    Args:
        label: t, 1 for images that should be judged real, 0 for fakes.
        reduction: As ``ElementLoss``, without weights.

    Shapes: logits S -> S for ``none``, else (). Source: arXiv:1406.2661, section 3.
    """

    label: float
    reduction: Literal["none", "mean", "sum", "batch_mean"] = "mean"

    example = Example((1, 1, 4, 5), label=0.9)

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.reduction, "reduction", ("none", "mean", "sum", "batch_mean"))
        if not 0 <= self.label <= 1:
            raise FieldError("label", received=self.label, expected="0 to 1")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        parts = []
        if self.label > 0:
            negated = builder.add("negated", Elementwise(function="negate"), inputs[0])
            missed = builder.add("softplus", Softplus(), negated)
            parts.append(missed if self.label == 1 else builder.add("missed", Affine(scale=self.label), missed))
        if self.label < 1:
            claimed = builder.add("other_softplus", Softplus(), inputs[0])
            rest = Affine(scale=1 - self.label)
            parts.append(claimed if self.label == 0 else builder.add("claimed", rest, claimed))
        element = parts[0] if len(parts) == 1 else builder.add("element", Add(), *parts)
        return reduced(builder, element, self.reduction)
