"""From a detector's head to boxes with scores: region proposal, YOLO's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.boxes import LARGEST_GROWTH, BoxClip, BoxDecode
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import Sigmoid
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.base import Dtypes, Example, Shapes, require_int, require_rank
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, TakeRows
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.merge import Add, Concat, Multiply, Subtract
from cnnbench.spec.layers.reduction import TopK
from cnnbench.spec.layers.shape import Reshape, Transpose


@dataclass(frozen=True, kw_only=True)
class ProposalSelection(Composite, kind="proposal_selection"):
    """Region proposals of a fixed number: decode, clip, best of all, without small ones, suppression, best of the rest.

    Args:
        height, width: The image's, in the anchors' unit.
        before: How many of the best-judged boxes go into suppression (all, if there are fewer).
        after: How many boxes come out; missing ones are zeros with score 0.
        iou_threshold: Of suppression.
        min_size: Boxes less wide or high after clipping are dropped.
        score_threshold: Boxes with a score (a probability) not above it are dropped; None for none.
        largest_growth: As ``BoxDecode``.

    Shapes:
        objectness logits (N, A), deltas (N, A, 4), anchors (A, 4) -> boxes (N, after, 4), scores (N, after), count (N,)
        integers. No gradient (boxes are data for the next stage, as in Faster R-CNN's approximate joint training).
        Source: arXiv:1506.01497, section 3.3; torchvision's ``filter_proposals`` for one feature map.
    """

    height: int
    width: int
    before: int = 2000
    after: int = 1000
    iou_threshold: float = 0.7
    min_size: float = 1e-3
    score_threshold: float | None = None
    largest_growth: float = LARGEST_GROWTH

    example = Example((1, 20), (1, 20, 4), (20, 4), height=24, width=30, before=16, after=6)
    num_inputs = (3, 3)
    differentiable = False
    no_gradient_to = (0, 1, 2)

    def resolve(self, inputs: Shapes) -> Self:
        objectness, deltas, anchors = inputs
        if len(objectness) != 2 or deltas != (*objectness, 4) or anchors != deltas[1:]:
            raise SpecError("the inputs do not fit", received=inputs, expected="(N, A), (N, A, 4) and (A, 4)")
        require_int(self.before, "before", least=1)
        require_int(self.after, "after", least=1)
        return self

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        return ("float", "float", "int")

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        objectness, deltas, anchors = inputs
        boxes = builder.add("decode", BoxDecode(largest_growth=self.largest_growth), deltas, anchors)
        boxes = builder.add("clip", BoxClip(height=self.height, width=self.width), boxes)
        best, places = builder.add_all("best", TopK(k=min(self.before, objectness.shape[1]), axis=1), objectness)
        boxes = builder.add("best_boxes", TakeRows(), boxes, places)
        scores = builder.add("scores", Sigmoid(), best)
        suppression = NonMaxSuppression(
            iou_threshold=self.iou_threshold,
            max_outputs=self.after,
            score_threshold=self.score_threshold,
            min_size=self.min_size,
        )
        stay, count = builder.add_all("suppression", suppression, boxes, scores)
        return builder.add("boxes", TakeRows(), boxes, stay), builder.add("stay", TakeRows(), scores, stay), count


@dataclass(frozen=True, kw_only=True)
class YoloDecode(Composite, kind="yolo_decode"):
    """YOLO's grid as boxes in pixels, and the score of each class for each of them.

    Cell (row i, column j) of S x S predicts B boxes (x, y, w, h, confidence) and C class probabilities: the centre is
    ((j + x) / S_x, (i + y) / S_y) of the image, the size (w^2, h^2) of it if ``squared`` else (w, h); a box's score for
    a class is its confidence times the cell's probability.

    Args:
        boxes: B. classes: C.
        height, width: The image's in pixels; 1 for shares of it.
        squared: Whether the network gives the roots of sizes (arXiv:1506.02640, section 2.2).

    Shapes:
        (N, 5 B + C, S_y, S_x), channels box by box, then the classes -> boxes (N, S_y S_x B, 4) as (x1, y1, x2, y2),
        scores (N, S_y S_x B, C); the row varies slowest, then the column, then the box.
    """

    boxes: int = 2
    classes: int = 20
    height: float = 1.0
    width: float = 1.0
    squared: bool = True

    example = Example((1, 13, 3, 4), classes=3)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=4, most=4)
        require_int(self.boxes, "boxes", least=1)
        require_int(self.classes, "classes", least=1)
        channels = 5 * self.boxes + self.classes
        if inputs[0][1] != channels:
            raise SpecError(
                "the channels do not fit", received=inputs[0][1], expected=f"5 boxes + classes = {channels}"
            )
        return self

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        rows, columns = inputs[0].shape[2:]
        # Around every cell a box of size 1: its first corner is the cell's number less a half.
        cells = AnchorGrid(sizes=(1.0,), aspect_ratios=(1.0,), stride=1, rounded=False)
        grid = builder.add("cells", cells, inputs[0])
        grid = builder.add("shared_cells", Reshape(shape=(1, rows * columns, 4), whole=True), grid)
        places = builder.add_all("place", Split(sizes=(1, 1, 2), axis=-1), grid)[:2]
        last = builder.add("channels_last", Transpose(permutation=(0, 2, 3, 1)), inputs[0])
        table = builder.add("table", Reshape(shape=(rows * columns, inputs[0].channels)), last)
        *heads, classes = builder.add_all("head", Split(sizes=(*(5,) * self.boxes, self.classes), axis=-1), table)
        found, scores = [], []
        for number, head in enumerate(heads):
            with builder.scope(f"box{number}"):
                parts = builder.add_all("part", Split(sizes=5, axis=-1), head)
                box = self._box(builder, parts, places, (columns, rows))
                found.append(builder.add("row", Reshape(shape=(rows * columns, 1, 4)), box))
                score = builder.add("score", Multiply(), parts[4], classes)
                scores.append(builder.add("scores", Reshape(shape=(rows * columns, 1, self.classes)), score))
        count = rows * columns * self.boxes
        boxes = builder.add("boxes", Reshape(shape=(count, 4)), builder.add("all_boxes", Concat(axis=2), *found))
        every = builder.add("all_scores", Concat(axis=2), *scores)
        return boxes, builder.add("scores", Reshape(shape=(count, self.classes)), every)

    def _box(
        self, builder: Builder, parts: tuple[Value, ...], places: tuple[Value, ...], cells: tuple[int, int]
    ) -> Value:
        low, high = [], []
        for i, (name, full) in enumerate((("x", self.width), ("y", self.height))):
            offset = builder.add(f"{name}_cell", Add(broadcast=True), parts[i], places[i])
            centre = builder.add(f"{name}_centre", Affine(scale=full / cells[i], shift=0.5 * full / cells[i]), offset)
            size = parts[2 + i]
            if self.squared:
                size = builder.add(f"{name}_share", Elementwise(function="square"), size)
            half = builder.add(f"{name}_half", Affine(scale=0.5 * full), size)
            low.append(builder.add(f"{name}_low", Subtract(), centre, half))
            high.append(builder.add(f"{name}_high", Add(), centre, half))
        return builder.add("corners", Concat(axis=-1), *low, *high)
