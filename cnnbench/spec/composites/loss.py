"""Losses of classifiers and of segmentation: cross-entropy with classes or probabilities as targets, dice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.element_loss import reduced
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import LogSoftmax, Sigmoid, Softmax
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.base import Example, Shapes, require_one_of, require_rank
from cnnbench.spec.layers.loss import NLLLoss, check_classes
from cnnbench.spec.layers.merge import Add, Divide, Multiply
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Transpose
from cnnbench.spec.layers.tables import ConstantTable


@dataclass(frozen=True, kw_only=True)
class CrossEntropyLoss(Composite, kind="cross_entropy_loss"):
    """The negative log-likelihood of the log-softmax of logits along axis 1.

    Args:
        reduction: ``none``, ``sum``, or ``mean`` over the targets that count, each by its class' weight.
        ignore_index: A target that counts as nothing; None: all count.
        label_smoothing: The share of the target's probability that is spread evenly over all classes.
        class_weights: One of each class, where they are no input.

    Shapes:
        logits (N, K, *spatial), targets (N, *spatial) integers [, class weights (K,)] -> as ``NLLLoss``.
        Source: PyTorch's CrossEntropyLoss; ONNX's SoftmaxCrossEntropyLoss.
    """

    reduction: Literal["none", "mean", "sum"] = "mean"
    ignore_index: int | None = -100
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    example = Example((1, 6), (1,))
    num_inputs = (2, 3)
    int_inputs = (1,)
    no_gradient_to = (2,)

    def resolve(self, inputs: Shapes) -> Self:
        check_classes(inputs, self.kind, self.reduction, self.label_smoothing)
        if self.class_weights is not None:
            if len(inputs) == 3:
                raise SpecError("the class weights are given twice", received="an input and the field class_weights")
            if len(self.class_weights) != inputs[0][1] or not all(weight >= 0 for weight in self.class_weights):
                raise FieldError(
                    "class_weights",
                    "are not valid",
                    received=self.class_weights,
                    expected=f"{inputs[0][1]} numbers of at least 0",
                )
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        log_p = builder.add("log_softmax", LogSoftmax(), inputs[0])
        nll = NLLLoss(reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing)
        weights = inputs[2:]
        if self.class_weights is not None:
            weights = (builder.add("class_weights", ConstantTable(entries=self.class_weights), log_p),)
        return builder.add("nll", nll, log_p, inputs[1], *weights)


@dataclass(frozen=True, kw_only=True)
class TokenCrossEntropyLoss(Composite, kind="token_cross_entropy_loss"):
    """Cross-entropy of the words of sequences, averaged over those of the batch that count.

    Args:
        ignore_index: A target that counts as nothing: what lies behind the end of a sequence. The end itself is a word.

    Shapes:
        logits (N, *, T, V), targets (N, *, T) integers -> ().
    """

    ignore_index: int = -1

    example = Example((1, 4, 6), (1, 4))
    num_inputs = (2, 2)
    int_inputs = (1,)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3)
        if inputs[1] != inputs[0][:-1]:
            raise SpecError("the targets have the wrong shape", received=inputs[1], expected=inputs[0][:-1])
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        rank = len(inputs[0].shape)
        classes_second = Transpose(permutation=(0, rank - 1, *range(1, rank - 1)))
        logits = builder.add("classes_second", classes_second, inputs[0])
        return builder.add("cross_entropy", CrossEntropyLoss(ignore_index=self.ignore_index), logits, inputs[1])


@dataclass(frozen=True, kw_only=True)
class SoftCrossEntropyLoss(Composite, kind="soft_cross_entropy_loss"):
    """-sum_k q_k log softmax(logits)_k with q = (1 - e) t + e / K, averaged over images and positions.

    Args:
        label_smoothing: e, the share that is spread evenly over all classes.

    Shapes:
        logits (N, K, *spatial), probabilities t of the same shape -> ().
        Source: PyTorch's CrossEntropyLoss with probabilities as targets.
    """

    label_smoothing: float = 0.0

    example = Example((1, 6), (1, 6))
    num_inputs = (2, 2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        if inputs[0] != inputs[1]:
            raise SpecError("logits and probabilities differ in shape", received=inputs, expected="equal shapes")
        if not 0 <= self.label_smoothing < 1:
            raise FieldError("label_smoothing", received=self.label_smoothing, expected="0 to below 1")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        logits, q = inputs
        if self.label_smoothing:
            smooth = Affine(scale=1 - self.label_smoothing, shift=self.label_smoothing / logits.shape[1])
            q = builder.add("smoothed", smooth, q)
        both = builder.add("both", Multiply(), builder.add("log_softmax", LogSoftmax(), logits), q)
        of_each = builder.add("sum", Reduce(function="sum", axes=(1,), keepdims=False), both)
        return reduced(builder, builder.add("negated", Affine(scale=-1.0), of_each), "mean")


@dataclass(frozen=True, kw_only=True)
class DiceLoss(Composite, kind="dice_loss"):
    """1 - (2 sum p t + s) / (sum p + sum t + s), for each image and class, sums over positions.

    Args:
        smooth: s, which makes an empty class whose prediction is empty too a perfect one.
        squared: p^2 and t^2 in the divisor (V-Net, arXiv:1606.04797, section 3).
        over_batch: Sums over the images too, one value for each class.
        activation: What makes probabilities p of the input: ``none`` (they are), ``sigmoid``, ``softmax`` over axis 1.
        reduction: ``none``, ``mean`` over images and classes, ``sum``.

    Shapes:
        prediction (N, K, *spatial), target of the same shape, 1 where the class is -> (N, K), or (K,) with
        ``over_batch``, for ``none``; else ().
    """

    smooth: float = 1.0
    squared: bool = False
    over_batch: bool = False
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    reduction: Literal["none", "mean", "sum"] = "mean"

    example = Example((1, 4, 6, 6), (1, 4, 6, 6))
    num_inputs = (2, 2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3)
        require_one_of(self.activation, "activation", ("none", "sigmoid", "softmax"))
        require_one_of(self.reduction, "reduction", ("none", "mean", "sum"))
        if inputs[0] != inputs[1]:
            raise SpecError("prediction and target differ in shape", received=inputs, expected="equal shapes")
        if not self.smooth >= 0:
            raise FieldError("smooth", received=self.smooth, expected="0 or more")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        p, t = inputs
        if self.activation != "none":
            p = builder.add("activation", Sigmoid() if self.activation == "sigmoid" else Softmax(), p)
        axes = tuple(axis for axis in range(len(p.shape)) if axis > 1 or (axis == 0 and self.over_batch))
        total = Reduce(function="sum_square" if self.squared else "sum", axes=axes, keepdims=False)
        both = builder.add("both", Multiply(), p, t)
        common = builder.add("common", Reduce(function="sum", axes=axes, keepdims=False), both)
        sizes = builder.add("sizes", Add(), builder.add("of_p", total, p), builder.add("of_t", total, t))
        overlap = builder.add(
            "overlap",
            Divide(),
            builder.add("numerator", Affine(scale=2.0, shift=self.smooth), common),
            builder.add("denominator", Affine(shift=self.smooth), sizes),
        )
        return reduced(builder, builder.add("element", Affine(scale=-1.0, shift=1.0), overlap), self.reduction)
