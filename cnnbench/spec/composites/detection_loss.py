"""Losses of detectors: the four of Faster R-CNN on sampled anchors and boxes, and YOLO's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.boxes import overlap
from cnnbench.spec.composites.element_loss import BCEWithLogitsLoss, SmoothL1Loss, divided, reduced
from cnnbench.spec.composites.loss import CrossEntropyLoss
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import ReLU
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.base import Example, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.detection import TakeRows
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.loss import StopGradient
from cnnbench.spec.layers.merge import Add, Concat, Multiply, Subtract
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Reshape

BETA = 1 / 9  # of torchvision's and Detectron's box regression


def _check(inputs: Shapes, expected: Shapes, words: str) -> None:
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
        _check(inputs, (inputs[0],) * 3, "three times (N, A)")
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
        _check(inputs, ((*anchors, 4), (*anchors, 4), anchors, anchors), "(N, A, 4) twice and (N, A) twice")
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
        _check(inputs, (inputs[0], inputs[0][:1]), "(R, K) and (R,)")
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
        _check(inputs, (inputs[0], (rows,), (rows, 4), (rows,), (rows,)), "(R, 4 K), (R,), (R, 4), (R,), (R,)")
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
class YoloLoss(Composite, kind="yolo_loss"):
    """YOLO's sum of squares over cells i and boxes j, summed over an image.

    coord sum 1_ij ((x - x')^2 + (y - y')^2 + (w - sqrt w')^2 + (h - sqrt h')^2) + sum 1_ij (c - c')^2
    + noobj sum (1 - 1_ij) c^2 + sum 1_i |p - p'|^2, where 1_i says that an object's centre lies in cell i and 1_ij that
    box j is the one of cell i that overlaps it most (the first of equal ones), which is not differentiated.

    Args:
        boxes: B. classes: C.
        coord, noobj: The two factors.
        confidence: c', what a responsible box's confidence should be: its present ``iou`` with the object, taken as a
            constant, or ``one``.
        squared: Whether the network gives the roots of sizes, as above; otherwise w - w' (compared as they are).
        reduction: ``batch_mean``: the mean over images; ``sum``; ``none``: each image's.

    Shapes:
        prediction (N, 5 B + C, S, S) as ``YoloDecode`` takes it, target (N, 5 + C, S, S): x', y' within the cell,
        w', h' as shares of the image, 1_i, one-hot class -> () or (N,) for ``none``. No gradient goes to the target.
        Source: arXiv:1506.02640, equation 3.
    """

    boxes: int = 2
    classes: int = 20
    coord: float = 5.0
    noobj: float = 0.5
    confidence: Literal["iou", "one"] = "iou"
    squared: bool = True
    reduction: Literal["batch_mean", "sum", "none"] = "batch_mean"

    example = Example((1, 13, 3, 4), (1, 8, 3, 4), classes=3)
    num_inputs = (2, 2)
    no_gradient_to = (1,)

    def resolve(self, inputs: Shapes) -> Self:
        prediction = inputs[0]
        require_rank(prediction, self.kind, least=4, most=4)
        require_int(self.boxes, "boxes", least=1)
        require_one_of(self.confidence, "confidence", ("iou", "one"))
        require_one_of(self.reduction, "reduction", ("batch_mean", "sum", "none"))
        grid = prediction[2:]
        expected = (
            (prediction[0], 5 * self.boxes + self.classes, *grid),
            (prediction[0], 5 + self.classes, *grid),
        )
        _check(inputs, expected, f"{expected[0]} and {expected[1]}")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        *heads, classes = builder.add_all("head", Split(sizes=(*(5,) * self.boxes, self.classes)), inputs[0])
        target = builder.add("target", StopGradient(), inputs[1])
        tx, ty, tw, th, object_here, true_classes = builder.add_all(
            "truth", Split(sizes=(1, 1, 1, 1, 1, self.classes)), target
        )
        parts = []
        for number, head in enumerate(heads):
            with builder.scope(f"box{number}"):
                parts.append(builder.add_all("part", Split(sizes=5), head))
        overlaps = self._overlaps(builder, parts, (tx, ty, tw, th))
        roots: tuple[Value, ...] = (tw, th)
        if self.squared:
            roots = tuple(builder.add(f"root_{n}", Elementwise(function="sqrt"), v) for n, v in (("w", tw), ("h", th)))
        terms = []
        for number, (box, iou) in enumerate(zip(parts, overlaps, strict=True)):
            with builder.scope(f"term{number}"):
                mine = self._responsible(builder, number, overlaps, object_here)
                terms += self._box_terms(builder, box, (tx, ty, *roots), iou, mine)
        difference = builder.add("class_difference", Subtract(), classes, true_classes)
        squares = builder.add("class_square", Elementwise(function="square"), difference)
        terms.append(builder.add("class_term", Multiply(), squares, object_here))
        return self._total(builder, terms)

    def _total(self, builder: Builder, terms: list[Value]) -> Value:
        every = builder.add("terms", Concat(axis=1), *terms)
        of_image = builder.add("of_image", Reduce(function="sum", axes=(1, 2, 3), keepdims=False), every)
        if self.reduction == "none":
            return of_image
        return reduced(builder, of_image, "mean" if self.reduction == "batch_mean" else "sum")

    def _overlaps(self, builder: Builder, parts: list[tuple[Value, ...]], truth: tuple[Value, ...]) -> list[Value]:
        """Each box's IoU with the object, as constants."""
        rows, columns = truth[0].shape[2:]
        with builder.scope("truth_box"):
            corners = _corners_in_cell(builder, truth, (columns, rows), squared=False)
        found = []
        for number, box in enumerate(parts):
            with builder.scope(f"overlap{number}"):
                still = tuple(builder.add(f"still{i}", StopGradient(), value) for i, value in enumerate(box[:4]))
                own = _corners_in_cell(builder, still, (columns, rows), squared=self.squared)
                found.append(overlap(builder, own, corners))
        return found

    def _responsible(self, builder: Builder, number: int, overlaps: list[Value], object_here: Value) -> Value:
        """1 where this box overlaps more than those before it, and no less than those after it, and there is one."""
        mine = object_here
        for other, iou in enumerate(overlaps):
            if other != number:
                ahead = (iou, overlaps[number]) if other > number else (overlaps[number], iou)
                sign = builder.add(
                    f"sign{other}", Elementwise(function="sign"), builder.add(f"lead{other}", Subtract(), *ahead)
                )
                holds = builder.add(f"more{other}", ReLU(), sign)
                if other > number:
                    holds = builder.add(f"no_less{other}", Affine(scale=-1.0, shift=1.0), holds)
                mine = builder.add(f"responsible{other}", Multiply(), mine, holds)
        return mine

    def _box_terms(
        self, builder: Builder, box: tuple[Value, ...], truth: tuple[Value, ...], iou: Value, mine: Value
    ) -> list[Value]:
        terms = []
        for name, value, true in zip("xywh", box[:4], truth, strict=True):
            difference = builder.add(f"difference_{name}", Subtract(), value, true)
            square = builder.add(f"square_{name}", Elementwise(function="square"), difference)
            own = builder.add(f"own_{name}", Multiply(), square, mine)
            terms.append(builder.add(f"term_{name}", Affine(scale=self.coord), own))
        off = (
            builder.add("off", Subtract(), box[4], iou)
            if self.confidence == "iou"
            else builder.add("off", Affine(shift=-1.0), box[4])
        )
        hit = builder.add("hit", Multiply(), builder.add("off_square", Elementwise(function="square"), off), mine)
        empty = builder.add("empty", Affine(scale=-self.noobj, shift=self.noobj), mine)
        missed = builder.add("missed", Multiply(), builder.add("square", Elementwise(function="square"), box[4]), empty)
        return [*terms, hit, missed]


def _corners_in_cell(
    builder: Builder, box: tuple[Value, ...], cells: tuple[int, int], *, squared: bool
) -> tuple[Value, ...]:
    """Corners as shares of the image, counted from the cell's own corner: boxes of one cell overlap alike there."""
    low, high = [], []
    for i, name in enumerate("xy"):
        centre = builder.add(f"{name}_centre", Affine(scale=1 / cells[i]), box[i])
        size = box[2 + i]
        if squared:
            size = builder.add(f"{name}_size", Elementwise(function="square"), size)
        half = builder.add(f"{name}_half", Affine(scale=0.5), size)
        low.append(builder.add(f"{name}_first", Subtract(), centre, half))
        high.append(builder.add(f"{name}_last", Add(), centre, half))
    return (*low, *high)
