"""Losses of detectors: the four of Faster R-CNN and that of masks, on sampled anchors and boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from cnnbench.errors import SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.element_loss import BCEWithLogitsLoss, SmoothL1Loss, divided
from cnnbench.spec.composites.loss import CrossEntropyLoss
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.base import Example, Shapes
from cnnbench.spec.layers.detection import TakeRows
from cnnbench.spec.layers.shape import Reshape

BETA = 1 / 9  # of torchvision's and Detectron's box regression


def require_shapes(inputs: Shapes, expected: Shapes, words: str) -> None:
    """Raises SpecError that says in words what is expected where the shapes are others.

    Args:
        inputs: The shapes that were given.
        expected: Those that fit.
        words: Those that fit, as the error says them.
    """
    if inputs != expected:
        raise SpecError("the inputs do not fit", received=inputs, expected=words)


@dataclass(frozen=True, kw_only=True)
class RPNObjectnessLoss(Composite, kind="rpn_objectness_loss"):
    """Binary cross-entropy of sampled anchors, averaged over them.

    Shapes:
        logits (N, A), labels (N, A) 1 for an object, sampled (N, A) 1 for anchors that count -> ().
        Source: Faster R-CNN (arXiv:1506.01497, equation 1); torchvision's ``RegionProposalNetwork``.
    """

    example = Example((1, 12), (1, 12), (1, 12))
    num_inputs = (3, 3)

    def resolve(self, inputs: Shapes) -> Self:
        require_shapes(inputs, (inputs[0],) * 3, "three times (N, A)")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        return builder.add("bce", BCEWithLogitsLoss(reduction="weighted_mean"), *inputs)


@dataclass(frozen=True, kw_only=True)
class RPNBoxLoss(Composite, kind="rpn_box_loss"):
    """Smooth L1 of the deltas of positive anchors, summed over coordinates and divided by the number of sampled ones.

    Args:
        beta: Of smooth L1.

    Shapes:
        deltas (N, A, 4), their targets (N, A, 4), positive (N, A) 1 for sampled anchors of an object, sampled (N, A)
        -> (). Source: as ``RPNObjectnessLoss``.
    """

    beta: float = BETA

    example = Example((1, 12, 4), (1, 12, 4), (1, 12), (1, 12))
    num_inputs = (4, 4)

    def resolve(self, inputs: Shapes) -> Self:
        anchors = inputs[0][:-1]
        require_shapes(inputs, ((*anchors, 4), (*anchors, 4), anchors, anchors), "(N, A, 4) twice and (N, A) twice")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        deltas, targets, positive, sampled = inputs
        weights = builder.add("weights", Reshape(shape=(*positive.shape[1:], 1)), positive)
        total = builder.add("smooth_l1", SmoothL1Loss(beta=self.beta, reduction="sum"), deltas, targets, weights)
        return divided(builder, total, sampled)


@dataclass(frozen=True, kw_only=True)
class HeadClassLoss(Composite, kind="head_class_loss"):
    """Cross-entropy of sampled boxes, averaged over them; a label of -1 is a box that was not sampled.

    Shapes:
        logits (R, K), labels (R,) integers, 0 the background -> (). Source: Fast R-CNN (arXiv:1504.08083, equation 1).
    """

    example = Example((1, 5), (1,))
    num_inputs = (2, 2)
    int_inputs = (1,)

    def resolve(self, inputs: Shapes) -> Self:
        require_shapes(inputs, (inputs[0], inputs[0][:1]), "(R, K) and (R,)")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        return builder.add("cross_entropy", CrossEntropyLoss(ignore_index=-1), *inputs)


@dataclass(frozen=True, kw_only=True)
class HeadBoxLoss(Composite, kind="head_box_loss"):
    """Smooth L1 of the deltas that each positive box has for its own class, over the number of sampled boxes.

    Args:
        beta: Of smooth L1.

    Shapes:
        deltas (R, 4 K), labels (R,) integers (only those of positive boxes matter), targets (R, 4), positive (R,) 1
        for sampled boxes of an object, sampled (R,) -> (). Source: Fast R-CNN (arXiv:1504.08083, equations 1 to 3).
    """

    beta: float = BETA

    example = Example((1, 12), (1,), (1, 4), (1,), (1,))
    num_inputs = (5, 5)
    int_inputs = (1,)

    def resolve(self, inputs: Shapes) -> Self:
        rows = inputs[0][0]
        require_shapes(inputs, (inputs[0], (rows,), (rows, 4), (rows,), (rows,)), "(R, 4 K), (R,), (R, 4), (R,), (R,)")
        if inputs[0][1] % 4:
            raise SpecError("the deltas are not four a class", received=inputs[0][1], expected="a multiple of 4")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        deltas, labels, targets, positive, sampled = inputs
        table = builder.add("by_class", Reshape(shape=(deltas.shape[1] // 4, 4)), deltas)
        column = builder.add("column", Reshape(shape=(1,)), labels)
        own = builder.add("own", Reshape(shape=(4,)), builder.add("of_class", TakeRows(), table, column))
        weights = builder.add("weights", Reshape(shape=(1,)), positive)
        total = builder.add("smooth_l1", SmoothL1Loss(beta=self.beta, reduction="sum"), own, targets, weights)
        return divided(builder, total, sampled)


@dataclass(frozen=True, kw_only=True)
class MaskHeadLoss(Composite, kind="mask_head_loss"):
    """Binary cross-entropy of the mask that each positive box has for its own class, averaged over their pixels.

    Shapes:
        logits (R, K, H, W), labels (R,) integers (only those of positive boxes matter), targets (R, H, W) 1 where the
        object is, positive (R,) 1 for boxes that count -> (). Source: Mask R-CNN (arXiv:1703.06870, section 3).
    """

    example = Example((1, 3, 4, 5), (1,), (1, 4, 5), (1,))
    num_inputs = (4, 4)
    int_inputs = (1,)

    def resolve(self, inputs: Shapes) -> Self:
        logits = inputs[0]
        expected = (logits, logits[:1], (logits[0], *logits[2:]), logits[:1])
        require_shapes(inputs, expected, "(R, K, H, W), (R,), (R, H, W) and (R,)")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        logits, labels, targets, positive = inputs
        size = targets.shape[1:]
        column = builder.add("column", Reshape(shape=(1,)), labels)
        own = builder.add("own", Reshape(shape=size), builder.add("of_class", TakeRows(), logits, column))
        weights = builder.add("weights", Reshape(shape=(1,) * len(size)), positive)
        total = builder.add("bce", BCEWithLogitsLoss(reduction="sum"), own, targets, weights)
        mean = builder.add("of_pixels", Affine(scale=1 / math.prod(size)), total)
        return divided(builder, mean, positive)
