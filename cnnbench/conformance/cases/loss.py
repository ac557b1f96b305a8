"""Losses of classifiers and of segmentation: cases shared by all backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.conformance.cases.case import Draw, LayerCase
from cnnbench.spec.composites.loss import CrossEntropyLoss, DiceLoss, SoftCrossEntropyLoss, TokenCrossEntropyLoss
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.loss import NLLLoss, StopGradient

CLASSES = 6
IMAGE: Shape = (CLASSES, 3, 5)


def classes(count: int, ignored: int | None = None) -> Draw:
    """Class indices, about a third of them ignored."""

    def draw(generator: Any, shape: Shape) -> Any:
        found = generator.integers(0, count, shape)
        if ignored is None:
            return found
        hidden = generator.random(shape) < 0.3
        hidden.flat[0] = False  # of no target at all the mean is 0 / 0
        return np.where(hidden, ignored, found)

    return draw


def positive(generator: Any, shape: Shape) -> Any:
    """Class weights."""
    return generator.uniform(0.2, 2.0, shape)


def indicator(generator: Any, shape: Shape) -> Any:
    """1 where a class is, one class a position."""
    chosen = generator.integers(0, shape[1], (shape[0], 1, *shape[2:]))
    return (chosen == np.arange(shape[1]).reshape(1, -1, *(1,) * (len(shape) - 2))).astype(float)


def shares(generator: Any, shape: Shape) -> Any:
    """Probabilities."""
    return generator.uniform(0.05, 0.95, shape)


def _classes(layer: Any, image: Shape = IMAGE, ignored: int | None = None, weighted: bool = False) -> LayerCase:
    images: tuple[Shape, ...] = (image, image[1:])
    draws: tuple[Draw | None, ...] = (None, classes(CLASSES, ignored))
    batched: tuple[bool, ...] = (True, True)
    if weighted:
        images, draws, batched = (*images, (CLASSES,)), (*draws, positive), (*batched, False)
    return LayerCase(layer, images, batch=3, draws=draws, batched=batched, scale=3.0)


CASES = {
    "stop_gradient/plain": LayerCase(StopGradient(), ((3, 4, 5),), differences=False),
    "nll_loss/mean": _classes(NLLLoss(), (CLASSES,)),
    "nll_loss/none": _classes(NLLLoss(reduction="none"), ignored=-100),
    "nll_loss/sum_3d": _classes(NLLLoss(reduction="sum"), (CLASSES, 2, 3, 4)),
    "nll_loss/weighted_mean_ignoring_a_class": _classes(NLLLoss(ignore_index=2), weighted=True),
    "nll_loss/smoothed_weighted_mean": _classes(
        NLLLoss(label_smoothing=0.2, ignore_index=-1), ignored=-1, weighted=True
    ),
    "nll_loss/smoothed_none": _classes(NLLLoss(label_smoothing=0.1, reduction="none", ignore_index=None)),
    "cross_entropy_loss/mean": _classes(CrossEntropyLoss(), (CLASSES,)),
    "cross_entropy_loss/image_none": _classes(CrossEntropyLoss(reduction="none")),
    "cross_entropy_loss/smoothed": _classes(CrossEntropyLoss(label_smoothing=0.1, ignore_index=None)),
    "cross_entropy_loss/weighted_ignoring": _classes(CrossEntropyLoss(), ignored=-100, weighted=True),
    "cross_entropy_loss/class_weights": _classes(
        CrossEntropyLoss(class_weights=(0.2, 1.0, 3.0, 0.5, 0.0, 1.0), label_smoothing=0.1, ignore_index=-1), ignored=-1
    ),
    "token_cross_entropy_loss/captions": LayerCase(
        TokenCrossEntropyLoss(), ((5, CLASSES), (5,)), batch=3, draws=(None, classes(CLASSES, -1)), scale=3.0
    ),
    "token_cross_entropy_loss/regions": LayerCase(
        TokenCrossEntropyLoss(ignore_index=-100),
        ((2, 4, CLASSES), (2, 4)),
        batch=3,
        draws=(None, classes(CLASSES, -100)),
        scale=3.0,
    ),
    "soft_cross_entropy_loss/image": LayerCase(SoftCrossEntropyLoss(), (IMAGE, IMAGE), draws=(None, shares), scale=3.0),
    "soft_cross_entropy_loss/smoothed": LayerCase(
        SoftCrossEntropyLoss(label_smoothing=0.2), ((CLASSES,),) * 2, batch=3, draws=(None, shares), scale=3.0
    ),
    "dice_loss/each": LayerCase(DiceLoss(reduction="none"), (IMAGE, IMAGE), draws=(shares, indicator)),
    "dice_loss/v_net": LayerCase(
        DiceLoss(squared=True, smooth=0.0, activation="softmax"), ((3, 2, 3, 4),) * 2, draws=(None, indicator)
    ),
    "dice_loss/over_batch": LayerCase(
        DiceLoss(over_batch=True, activation="sigmoid", reduction="sum"), ((4, 7),) * 2, draws=(None, indicator)
    ),
}
