"""Losses of the main output: what is minimised; a backend maps them to its framework's own, or to their layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.element_loss import BCEWithLogitsLoss, L1Loss, MSELoss, SmoothL1Loss
from cnnbench.spec.composites.loss import CrossEntropyLoss, DiceLoss, SoftCrossEntropyLoss, TokenCrossEntropyLoss
from cnnbench.spec.composites.yolo_loss import YoloLoss
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.loss import NLLLoss
from cnnbench.spec.losses.base import Loss
from cnnbench.spec.losses.drawn import some_ignored


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss, kind="cross_entropy"):
    """Mean over the batch of -sum_k q_k log softmax(logits)_k, q = (1 - e) onehot(target) + e / K.

    With weights w it is the sum of w_t times that over the sum of w_t, over targets t that are not ignored; of none at
    all it is NaN.

    Args:
        label_smoothing: e (Szegedy et al., "Rethinking the inception architecture" (2015), section 7).
        class_weights: w, one for each class; None: all 1.
        ignore_index: A target that counts as nothing; None: all count.

    Shapes:
        logits (N, K, *spatial), targets (N, *spatial) integers -> ().
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    ignore_index: int | None = None

    int_targets = True

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise FieldError("label_smoothing", received=self.label_smoothing, expected="0 to below 1")
        weights = self.class_weights
        if weights is not None and not (weights and min(weights) >= 0 and max(weights) > 0):
            raise FieldError(
                "class_weights", "are not valid", received=weights, expected="numbers of at least 0, not all of them 0"
            )

    @property
    def of_layer(self) -> bool:
        return self.class_weights is not None or self.ignore_index is not None

    def layer(self) -> Layer:
        return CrossEntropyLoss(
            label_smoothing=self.label_smoothing, class_weights=self.class_weights, ignore_index=self.ignore_index
        )

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        drawn = super().draw_targets(generator, output)
        return drawn if self.ignore_index is None else some_ignored(generator, drawn, self.ignore_index)


@dataclass(frozen=True, kw_only=True)
class SoftCrossEntropy(Loss, kind="soft_cross_entropy"):
    """``CrossEntropy`` with probabilities as targets: indicator vectors of the classes, or what mixup makes of them.

    Shapes: logits (N, K, *spatial), targets of the same shape (floats) -> ().
    """

    label_smoothing: float = 0.0

    def layer(self) -> Layer:
        return SoftCrossEntropyLoss(label_smoothing=self.label_smoothing)

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        drawn = generator.uniform(0.0, 1.0, output)
        return drawn / drawn.sum(axis=1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class TokenCrossEntropy(Loss, kind="token_cross_entropy"):
    """``CrossEntropy`` of words over time, averaged over the words of the batch that count.

    Args:
        ignore_index: A target that counts as nothing: what lies behind the word that ends a caption.

    Shapes:
        logits (N, T, V) or (N, M, T, V), targets (N, T) or (N, M, T) integers -> ().
    """

    ignore_index: int = -1

    int_targets = True

    def layer(self) -> Layer:
        return TokenCrossEntropyLoss(ignore_index=self.ignore_index)

    def num_classes(self, output: Shape) -> int:
        return output[-1]

    def target_shape(self, output: Shape) -> Shape:
        return output[:-1]

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        return some_ignored(generator, super().draw_targets(generator, output), self.ignore_index)


@dataclass(frozen=True, kw_only=True)
class NegativeLogLikelihood(Loss, kind="nll"):
    """Mean over the batch of -x_t, for networks that end in a log-softmax.

    Shapes: log-probabilities (N, K, *spatial), targets (N, *spatial) integers -> ().
    """

    int_targets = True

    def layer(self) -> Layer:
        return NLLLoss()


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(Loss, kind="mean_squared_error"):
    """Mean over all elements of (output - target)^2. Shapes: output S, targets S (floats) -> ()."""

    def layer(self) -> Layer:
        return MSELoss()


@dataclass(frozen=True, kw_only=True)
class L1(Loss, kind="l1"):
    """Mean over all elements of |output - target|. Shapes: output S, targets S (floats) -> ()."""

    def layer(self) -> Layer:
        return L1Loss()


@dataclass(frozen=True, kw_only=True)
class SmoothL1(Loss, kind="smooth_l1"):
    """Mean over all elements of ``SmoothL1Loss``, which says what ``beta`` and ``form`` mean.

    Shapes: output S, targets S (floats) -> ().
    """

    beta: float = 1.0
    form: Literal["smooth_l1", "huber"] = "smooth_l1"

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise FieldError("beta", received=self.beta, expected="a positive number")

    def layer(self) -> Layer:
        return SmoothL1Loss(beta=self.beta, form=self.form)


@dataclass(frozen=True, kw_only=True)
class BCEWithLogits(Loss, kind="bce_with_logits"):
    """Mean over all elements of the binary cross-entropy of a logit and a target from 0 to 1.

    Args:
        pos_weight: Weighs positive targets.

    Shapes: logits S, targets S (floats) -> ().
    """

    pos_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.pos_weight > 0:
            raise FieldError("pos_weight", received=self.pos_weight, expected="a positive number")

    def layer(self) -> Layer:
        return BCEWithLogitsLoss(pos_weight=self.pos_weight)

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        return generator.integers(0, 2, output) * 1.0


@dataclass(frozen=True, kw_only=True)
class Dice(Loss, kind="dice"):
    """Mean over images and classes of ``DiceLoss``, which says what the fields mean.

    Shapes: output (N, K, *spatial), targets of the same shape, 1 where the class is (floats) -> ().
    """

    smooth: float = 1.0
    squared: bool = False
    activation: Literal["none", "sigmoid", "softmax"] = "softmax"

    def layer(self) -> Layer:
        return DiceLoss(smooth=self.smooth, squared=self.squared, activation=self.activation)

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        return generator.integers(0, 2, output) * 1.0


@dataclass(frozen=True, kw_only=True)
class Yolo(Loss, kind="yolo"):
    """Mean over the batch of ``YoloLoss``, which says what the fields mean.

    Shapes:
        output (N, 5 B + C, S, S) or, ``channels_last``, (N, S, S, 5 B + C), targets (N, 5 + C, S, S) (floats) -> ().
    """

    boxes: int = 2
    classes: int = 20
    coord: float = 5.0
    noobj: float = 0.5
    channels_last: bool = False

    def layer(self) -> Layer:
        return YoloLoss(
            boxes=self.boxes,
            classes=self.classes,
            coord=self.coord,
            noobj=self.noobj,
            channels_last=self.channels_last,
        )

    def target_shape(self, output: Shape) -> Shape:
        return (output[0], 5 + self.classes, *(output[1:-1] if self.channels_last else output[2:]))

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        return generator.uniform(0.1, 0.9, self.target_shape(output))


@dataclass(frozen=True, kw_only=True)
class Objective(Loss, kind="objective"):
    """The main output itself, for a graph that ends in its own loss and takes what it compares with as inputs.

    Shapes: output () -> (); no targets.
    """

    has_targets = False

    def layer(self) -> Layer:
        return Affine()

    def target_shape(self, output: Shape) -> Shape:
        return ()

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        import numpy as np

        return np.zeros(())

    def require_scalar(self, output: Shape, where: str) -> None:
        """Raises SpecError where the main output is no scalar."""
        if output != ():
            raise SpecError(
                "the loss 'objective' is the main output itself, which must be a scalar",
                where=where,
                received=f"an output of shape {output}",
                expected="an output of shape (), as a loss layer gives",
                remedy="end the graph in its loss, or name a loss that takes targets",
            )
