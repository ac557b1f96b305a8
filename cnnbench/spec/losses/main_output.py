"""Losses of the main output: what is minimised; a backend maps them to its framework's own, or to their layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cnnbench.errors import SpecError
from cnnbench.spec.composites.element_loss import BCEWithLogitsLoss, L1Loss, MSELoss, SmoothL1Loss
from cnnbench.spec.composites.loss import CrossEntropyLoss, DiceLoss
from cnnbench.spec.composites.yolo_loss import YoloLoss
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.loss import NLLLoss
from cnnbench.spec.losses.base import Loss


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss, kind="cross_entropy"):
    """Mean over the batch of -sum_k q_k log softmax(logits)_k, q = (1 - e) onehot(target) + e / K.

    Args:
        label_smoothing: e (Szegedy et al., "Rethinking the inception architecture" (2015), section 7).

    Shapes:
        logits (N, K, *spatial), targets (N, *spatial) integers -> ().
    """

    label_smoothing: float = 0.0

    int_targets = True

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise SpecError("label_smoothing is not valid", received=self.label_smoothing, expected="0 to below 1")

    def layer(self) -> Layer:
        return CrossEntropyLoss(label_smoothing=self.label_smoothing)


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
            raise SpecError("beta is not valid", received=self.beta, expected="a positive number")

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
            raise SpecError("pos_weight is not valid", received=self.pos_weight, expected="a positive number")

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

    Shapes: output (N, 5 B + C, S, S), targets (N, 5 + C, S, S) (floats) -> ().
    """

    boxes: int = 2
    classes: int = 20
    coord: float = 5.0
    noobj: float = 0.5

    def layer(self) -> Layer:
        return YoloLoss(boxes=self.boxes, classes=self.classes, coord=self.coord, noobj=self.noobj)

    def target_shape(self, output: Shape) -> Shape:
        return (output[0], 5 + self.classes, *output[2:])

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
