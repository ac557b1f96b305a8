"""Losses that are a function of each prediction and its target, and their reductions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise
from cnnbench.spec.layers.base import Example, Shapes, require_one_of
from cnnbench.spec.layers.merge import Add, Divide, Multiply, Subtract
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.smooth import Softplus

Reduction = Literal["none", "mean", "sum", "batch_mean", "weighted_mean"]
REDUCTIONS: tuple[Reduction, ...] = ("none", "mean", "sum", "batch_mean", "weighted_mean")


@dataclass(frozen=True, kw_only=True)
class ElementLoss(Composite):
    """A loss that is a function of each prediction and its target.

    Args:
        reduction: ``none``, ``mean`` over all elements, ``sum``, ``batch_mean`` (the sum over the number of images),
            ``weighted_mean`` (the sum over the sum of the weights, or over 1 where that is less).

    Shapes:
        prediction S, target S [, weights of each element S or with sizes of 1] -> S for ``none``, else ().
        Weights multiply the elements before they are reduced: with ``mean`` the divisor is still their number.
    """

    reduction: Reduction = "mean"

    example = Example((1, 3, 4), (1, 3, 4))
    num_inputs = (2, 3)

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.reduction, "reduction", REDUCTIONS)
        if inputs[0] != inputs[1]:
            raise SpecError("prediction and target differ in shape", received=inputs[:2], expected="equal shapes")
        if self.reduction == "weighted_mean" and len(inputs) < 3:
            raise SpecError("weighted_mean needs weights", received="2 inputs", expected="weights as the third")
        if len(inputs) == 3:
            Multiply().resolve((inputs[0], inputs[2]))
        return self

    def elements(self, builder: Builder, prediction: Value, target: Value) -> Value:
        """The loss of each element.

        Args:
            builder: Where the nodes go.
            prediction: The first input, of any shape.
            target: The second, of the same shape; so is the result.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it is")

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        return reduced(builder, self.elements(builder, *inputs[:2]), self.reduction, *inputs[2:])


def reduced(builder: Builder, values: Value, reduction: Reduction, weights: Value | None = None) -> Value:
    """The parts that weigh and reduce.

    Args:
        builder: Where the nodes go.
        values: The loss of each element.
        reduction: As in ``ElementLoss``.
        weights: Of the elements, of the shape of ``values`` or with sizes of 1; None: each weighs 1.
    """
    if weights is not None:
        values = builder.add("weighted", Multiply(), values, weights)
    if reduction == "none":
        return values
    if reduction == "batch_mean":
        if len(values.shape) > 1:
            rest = tuple(range(1, len(values.shape)))
            values = builder.add("of_image", Reduce(function="sum", axes=rest, keepdims=False), values)
        return builder.add("mean", Reduce(function="mean", keepdims=False), values)
    if reduction == "mean":
        return builder.add("mean", Reduce(function="mean", keepdims=False), values)
    total = builder.add("sum", Reduce(function="sum", keepdims=False), values)
    if reduction == "sum" or weights is None:
        return total
    return divided(builder, total, weights)


def divided(builder: Builder, total: Value, weights: Value) -> Value:
    """A sum over the sum of weights, or over 1 where that is less.

    Args:
        builder: Where the nodes go.
        total: The sum, of shape ().
        weights: Those whose sum is the divisor, of any shape.
    """
    count = builder.add("weight", Reduce(function="sum", keepdims=False), weights)
    return builder.add("quotient", Divide(), total, builder.add("divisor", Clip(minimum=1.0), count))


@dataclass(frozen=True, kw_only=True)
class MSELoss(ElementLoss, kind="mse_loss"):
    """(x - t)^2.

    Args:
        reduction: As ``ElementLoss``.

    Shapes: as ``ElementLoss``.
    """

    def elements(self, builder: Builder, prediction: Value, target: Value) -> Value:
        difference = builder.add("difference", Subtract(), prediction, target)
        return builder.add("square", Elementwise(function="square"), difference)


@dataclass(frozen=True, kw_only=True)
class L1Loss(ElementLoss, kind="l1_loss"):
    """|x - t|; its gradient is 0 where they are equal.

    Args:
        reduction: As ``ElementLoss``.

    Shapes: as ``ElementLoss``.
    """

    def elements(self, builder: Builder, prediction: Value, target: Value) -> Value:
        difference = builder.add("difference", Subtract(), prediction, target)
        return builder.add("magnitude", Elementwise(function="abs"), difference)


@dataclass(frozen=True, kw_only=True)
class SmoothL1Loss(ElementLoss, kind="smooth_l1_loss"):
    """With d = |x - t|: d^2 / (2 beta) where d < beta, else d - beta / 2.

    Args:
        reduction: As ``ElementLoss``.
        beta: The difference |x - t| at which the parabola ends and the line begins.
        form: ``smooth_l1`` as above (Fast R-CNN, arXiv:1504.08083, equation 3, has beta 1; PyTorch's SmoothL1Loss), or
            ``huber``: beta times that, whose parabola is d^2 / 2 for every beta (PyTorch's and Keras' Huber).

    Shapes: as ``ElementLoss``.
    """

    beta: float = 1.0
    form: Literal["smooth_l1", "huber"] = "smooth_l1"

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.form, "form", ("smooth_l1", "huber"))
        if not self.beta > 0:
            raise FieldError("beta", received=self.beta, expected="a positive number", remedy="0 is l1_loss")
        return super().resolve(inputs)

    def elements(self, builder: Builder, prediction: Value, target: Value) -> Value:
        difference = builder.add("difference", Subtract(), prediction, target)
        distance = builder.add("distance", Elementwise(function="abs"), difference)
        near = builder.add("near", Clip(maximum=self.beta), distance)
        parabola = builder.add("square", Elementwise(function="square"), near)
        line = builder.add("far", Subtract(), distance, near)
        scale = 0.5 / self.beta if self.form == "smooth_l1" else 0.5
        parabola = builder.add("parabola", Affine(scale=scale), parabola)
        if self.form == "huber":
            line = builder.add("line", Affine(scale=self.beta), line)
        return builder.add("element", Add(), parabola, line)


@dataclass(frozen=True, kw_only=True)
class BCEWithLogitsLoss(ElementLoss, kind="bce_with_logits_loss"):
    """-p t log s(x) - (1 - t) log(1 - s(x)) with s the sigmoid, as p t softplus(-x) + (1 - t) softplus(x).

    That form neither overflows nor cancels, however large x is; (1 - t) x + softplus(-x), PyTorch's, loses the small
    loss of a negative target that is judged so.

    Args:
        reduction: As ``ElementLoss``.
        pos_weight: p, which weighs positive targets.

    Shapes: as ``ElementLoss``; targets from 0 to 1.
    """

    pos_weight: float = 1.0

    def resolve(self, inputs: Shapes) -> Self:
        if not self.pos_weight > 0:
            raise FieldError("pos_weight", received=self.pos_weight, expected="a positive number")
        return super().resolve(inputs)

    def elements(self, builder: Builder, prediction: Value, target: Value) -> Value:
        rest = builder.add("negative", Affine(scale=-1.0, shift=1.0), target)
        missed = builder.add("softplus", Softplus(), builder.add("negated", Elementwise(function="negate"), prediction))
        claimed = builder.add("other_softplus", Softplus(), prediction)
        positive = builder.add("positive", Multiply(), target, missed)
        if self.pos_weight != 1:
            positive = builder.add("weighted_positive", Affine(scale=self.pos_weight), positive)
        return builder.add("element", Add(), positive, builder.add("other", Multiply(), rest, claimed))


@dataclass(frozen=True, kw_only=True)
class VAEDivergence(ElementLoss, kind="kl_divergence_vae"):
    """The divergence of a diagonal normal distribution from the standard one: (m^2 + exp(v) - 1 - v) / 2.

    Args:
        reduction: By default ``batch_mean``, the divergence of an image's whole code, averaged over images.

    Shapes:
        means m S, logarithms of variances v S -> as ``ElementLoss``. Source: arXiv:1312.6114, appendix B.
    """

    reduction: Reduction = "batch_mean"

    example = Example((1, 8), (1, 8))

    def elements(self, builder: Builder, prediction: Value, target: Value) -> Value:
        square = builder.add("square", Elementwise(function="square"), prediction)
        growth = builder.add("expm1", Elementwise(function="expm1"), target)  # exp(v) - 1 without its cancellation
        spread = builder.add("spread", Subtract(), growth, target)
        return builder.add("element", Affine(scale=0.5), builder.add("total", Add(), square, spread))
