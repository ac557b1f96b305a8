"""From scored regions to detections: class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.boxes import LARGEST_GROWTH, BoxClip, BoxDecode
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import Softmax
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.base import Dtypes, Example, Shapes, require_int
from cnnbench.spec.layers.detection import NonMaxSuppression, TakeRows
from cnnbench.spec.layers.indexing import Gather, Slice
from cnnbench.spec.layers.merge import Add
from cnnbench.spec.layers.reduction import ArgReduce, TopK
from cnnbench.spec.layers.shape import Reshape, Transpose
from cnnbench.spec.layers.tables import ConstantTable

HEAD_SCALES = (10.0, 10.0, 5.0, 5.0)  # of Fast R-CNN's deltas (its code's standard deviations 0.1, 0.1, 0.2, 0.2)


@dataclass(frozen=True, kw_only=True)
class ClassDetections(Composite, kind="class_detections"):
    """Detections of a fixed number from the scores and the deltas that each region has for each class.

    Softmax; each region moved by the deltas of each class and clipped; for each class alone suppression among the
    boxes above the threshold that are not too small; of all classes the best. Class 0 of the logits is the background
    and yields none. Taking the best ``detections`` of each class first changes nothing.

    Args:
        height, width: The image's, in the boxes' unit.
        detections: M, how many come out; missing ones are zeros.
        score_threshold: Only boxes with a greater probability are detections; at least 0.
        iou_threshold: Of suppression within a class.
        min_size: Boxes less wide or high after clipping are dropped, so that regions of zeros yield nothing.
        scales: As ``BoxDecode``.
        largest_growth: As ``BoxDecode``.

    Shapes:
        logits (N, R, K + 1), deltas (N, R, 4 (K + 1)), regions (N, R, 4) -> boxes (N, M, 4), scores (N, M), classes
        (N, M) integers from 0 to K - 1, counts (N,) integers. The gradient goes through the chosen ones.
        Source: arXiv:1504.08083, section 3.1; torchvision's ``RoIHeads.postprocess_detections``.
    """

    height: int
    width: int
    detections: int = 100
    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    min_size: float = 1e-2
    scales: tuple[float, float, float, float] = HEAD_SCALES
    largest_growth: float | None = LARGEST_GROWTH

    example = Example((1, 6, 3), (1, 6, 12), (1, 6, 4), height=24, width=30, detections=5, score_threshold=0.1)
    num_inputs = (3, 3)

    def resolve(self, inputs: Shapes) -> Self:
        logits, deltas, regions = inputs
        if len(logits) != 3 or logits[2] < 2 or deltas != (*logits[:2], 4 * logits[2]) or regions != (*logits[:2], 4):
            expected = "(N, R, K + 1), (N, R, 4 (K + 1)) and (N, R, 4)"
            raise SpecError("the inputs do not fit", received=inputs, expected=expected)
        require_int(self.detections, "detections", least=1)
        if not 0 <= self.score_threshold < 1:
            received = self.score_threshold
            raise FieldError("score_threshold", received=received, expected="a number from 0 to below 1")
        return self

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        return ("float", "float", "int", "int")

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        logits, deltas, regions = inputs
        count, kinds = logits.shape[1], logits.shape[2] - 1
        each = min(self.detections, count)
        scores = builder.add("probabilities", Softmax(axis=2), logits)
        scores = builder.add("objects", Slice(starts=(1,), ends=(None,), axes=(2,)), scores)
        scores = builder.add("by_class", Transpose(permutation=(0, 2, 1)), scores)
        boxes = self._boxes(builder, deltas, regions)
        suppression = NonMaxSuppression(
            iou_threshold=self.iou_threshold,
            max_outputs=each,
            score_threshold=self.score_threshold,
            min_size=self.min_size,
        )
        stay = builder.add_all("suppression", suppression, boxes, scores)[0]
        stay = builder.add("rows", Reshape(shape=(-1, each), whole=True), stay)
        found = []
        for name, value in (("boxes", boxes), ("scores", scores)):
            rest = value.shape[3:]
            value = builder.add(f"{name}.sets", Reshape(shape=(-1, count, *rest), whole=True), value)
            value = builder.add(f"{name}.stay", TakeRows(), value, stay)
            found.append(builder.add(f"{name}.all", Reshape(shape=(-1, kinds * each, *rest), whole=True), value))
        best, order = builder.add_all("best", TopK(k=min(self.detections, kinds * each), axis=1), found[1])
        boxes = builder.add("best_boxes", TakeRows(), found[0], order)
        table = _class_numbers(builder, kinds, logits)
        classes = self._classes(builder, found[1], table, order)
        # Boxes without extent overlap nothing: this suppression counts, and fills up to M with zeros.
        points = builder.add("points", Affine(scale=0.0), boxes)
        counting = NonMaxSuppression(iou_threshold=0.5, max_outputs=self.detections, score_threshold=0.0)
        stay, counts = builder.add_all("counting", counting, points, best)
        boxes = builder.add("boxes", TakeRows(), boxes, stay)
        scores = builder.add("scores", TakeRows(), best, stay)
        numbers = builder.add("numbers", TakeRows(), classes, stay)
        return boxes, scores, _nearest(builder, numbers, table), counts

    def _boxes(self, builder: Builder, deltas: Value, regions: Value) -> Value:
        """(N, K, R, 4): each region as each class moves it."""
        count, kinds = deltas.shape[1], deltas.shape[2] // 4 - 1
        deltas = builder.add("deltas", Slice(starts=(4,), ends=(None,), axes=(2,)), deltas)
        deltas = builder.add("deltas.parts", Reshape(shape=(count, kinds, 4)), deltas)
        deltas = builder.add("deltas.by_class", Transpose(permutation=(0, 2, 1, 3)), deltas)
        regions = builder.add("regions", Reshape(shape=(1, count, 4)), regions)
        regions = builder.add("regions.by_class", Gather(indices=(0,) * kinds, axis=1), regions)
        decode = BoxDecode(scales=self.scales, largest_growth=self.largest_growth)
        boxes = builder.add("decode", decode, deltas, regions)
        return builder.add("clip", BoxClip(height=self.height, width=self.width), boxes)

    def _classes(self, builder: Builder, scores: Value, table: Value, order: Value) -> Value:
        """(N, M, 1): the number of the class of each of the best, of candidates that stand class by class."""
        kinds, candidates = table.shape[1], scores.shape[1]
        zeros = builder.add("zeros", Affine(scale=0.0), scores)
        zeros = builder.add("zeros.by_class", Reshape(shape=(kinds, candidates // kinds)), zeros)
        numbers = builder.add("table.column", Reshape(shape=(kinds, 1)), table)
        numbers = builder.add("candidates", Add(broadcast=True), zeros, numbers)
        numbers = builder.add("candidates.rows", Reshape(shape=(candidates, 1)), numbers)
        return builder.add("best_numbers", TakeRows(), numbers, order)


def _class_numbers(builder: Builder, kinds: int, like: Value) -> Value:
    """(1, K): 0, 1 ... K - 1."""
    table = builder.add("table", ConstantTable(entries=tuple(map(float, range(kinds)))), like)
    return builder.add("table.numbers", Reshape(shape=(1, kinds), whole=True), table)


def _nearest(builder: Builder, numbers: Value, table: Value) -> Value:
    """Numbers (N, M, 1) as integers (N, M): the place in the table that is the least away."""
    row = builder.add("table.row", Reshape(shape=(1, table.shape[1])), table)
    way = builder.add("way", Add(broadcast=True), builder.add("numbers.negated", Affine(scale=-1.0), numbers), row)
    way = builder.add("distance", Elementwise(function="abs"), way)
    return builder.add("classes", ArgReduce(function="argmin", axis=2, keepdims=False), way)
