"""YOLO's loss: sums of squares over the cells of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.boxes import overlap
from cnnbench.spec.composites.detection_loss import require_shapes
from cnnbench.spec.composites.element_loss import reduced
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import ReLU
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.base import Example, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.loss import StopGradient
from cnnbench.spec.layers.merge import Add, Concat, Multiply, Subtract
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Transpose


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
        channels_last: Whether the prediction is (N, S, S, 5 B + C), as ``yolo_v1`` gives it.

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
    channels_last: bool = False

    example = Example((1, 13, 3, 4), (1, 8, 3, 4), classes=3)
    num_inputs = (2, 2)
    no_gradient_to = (1,)

    def resolve(self, inputs: Shapes) -> Self:
        prediction = inputs[0]
        require_rank(prediction, self.kind, least=4, most=4)
        require_int(self.boxes, "boxes", least=1)
        require_one_of(self.confidence, "confidence", ("iou", "one"))
        require_one_of(self.reduction, "reduction", ("batch_mean", "sum", "none"))
        grid, depth = prediction[2:], (5 * self.boxes + self.classes,)
        if self.channels_last:
            grid = prediction[1:-1]
        expected = (
            (prediction[0], *((*grid, *depth) if self.channels_last else (*depth, *grid))),
            (prediction[0], 5 + self.classes, *grid),
        )
        require_shapes(inputs, expected, f"{expected[0]} and {expected[1]}")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        prediction = inputs[0]
        if self.channels_last:
            prediction = builder.add("channels_second", Transpose(permutation=(0, 3, 1, 2)), prediction)
        *heads, classes = builder.add_all("head", Split(sizes=(*(5,) * self.boxes, self.classes)), prediction)
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
