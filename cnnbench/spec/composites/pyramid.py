"""Regions of feature pyramids: proposals over all levels, and pooling of each region from its level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.boxes import LARGEST_GROWTH, BoxClip, BoxDecode
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import Sigmoid
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.base import Example, Shapes, require_int
from cnnbench.spec.layers.detection import NonMaxSuppression, TakeRows
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.loss import StopGradient
from cnnbench.spec.layers.merge import Add, Concat, Multiply, Select, Subtract
from cnnbench.spec.layers.reduction import ArgReduce, TopK
from cnnbench.spec.layers.roi_align import LevelRoIAlign, RoIAlign
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.layers.windows import PerAxis, per_axis, require_axes

LOWEST = -3e4  # the logit of a proposal that does not exist; float16 holds it
TOLERANCE = 1e-6  # of a region's level, in levels: a region whose size is just a level's has this level (torchvision)


@dataclass(frozen=True, kw_only=True)
class PyramidProposals(Composite, kind="pyramid_proposals"):
    """Region proposals of a fixed number from all levels of a pyramid.

    The best anchors of each level; moved, clipped, without small ones; suppression within each level; of all levels
    the best. Boxes of different levels do not suppress each other.

    Args:
        height, width: The image's, in the anchors' unit.
        before: How many anchors of each level go into suppression (all, if there are fewer).
        after: How many boxes come out of all levels; missing ones are zeros.
        iou_threshold: Of suppression.
        min_size: Boxes less wide or high after clipping are dropped.
        largest_growth: As ``BoxDecode``.

    Shapes:
        for each level objectness logits (N, A), deltas (N, A, 4), anchors (A, 4) -> boxes (N, after, 4), scores
        (N, after) from 0 to 1, by falling score. No gradient.
        Source: arXiv:1612.03144, section 4.1; torchvision's ``RegionProposalNetwork.filter_proposals``.
    """

    height: int
    width: int
    before: int = 1000
    after: int = 1000
    iou_threshold: float = 0.7
    min_size: float = 1e-3
    largest_growth: float | None = LARGEST_GROWTH

    example = Example((1, 20), (1, 20, 4), (20, 4), (1, 6), (1, 6, 4), (6, 4), height=24, width=30, before=16, after=12)
    num_inputs = (3, None)
    differentiable = False

    def resolve(self, inputs: Shapes) -> Self:
        levels = [inputs[i : i + 3] for i in range(0, len(inputs), 3)]
        for level in levels:
            if len(level) != 3 or len(level[0]) != 2 or level[1:] != ((*level[0], 4), (level[0][1], 4)):
                expected = "(N, A), (N, A, 4) and (A, 4) for each level"
                raise SpecError("the inputs do not fit", received=inputs, expected=expected)
        require_int(self.before, "before", least=1)
        require_int(self.after, "after", least=1)
        most = sum(min(self.before, self.after, level[0][1]) for level in levels)
        return replace(self, after=min(self.after, most))

    def expand(self, builder: Builder, *inputs: Value) -> tuple[Value, ...]:
        boxes, scores = [], []
        for level in range(len(inputs) // 3):
            with builder.scope(f"level{level}"):
                found = self._of_level(builder, *inputs[3 * level : 3 * level + 3])
            boxes.append(found[0])
            scores.append(found[1])
        every = builder.add("all_scores", Concat(axis=1), *scores) if len(scores) > 1 else scores[0]
        rows = builder.add("all_boxes", Concat(axis=1), *boxes) if len(boxes) > 1 else boxes[0]
        best, order = builder.add_all("best", TopK(k=self.after, axis=1), every)
        chosen = builder.add("boxes", TakeRows(), rows, order)
        return builder.add("fixed", StopGradient(), chosen), builder.add("scores", Sigmoid(), best)

    def _of_level(self, builder: Builder, objectness: Value, deltas: Value, anchors: Value) -> tuple[Value, Value]:
        count = min(self.before, objectness.shape[1])
        boxes = builder.add("decode", BoxDecode(largest_growth=self.largest_growth), deltas, anchors)
        boxes = builder.add("clip", BoxClip(height=self.height, width=self.width), boxes)
        best, places = builder.add_all("best", TopK(k=count, axis=1), objectness)
        boxes = builder.add("best_boxes", TakeRows(), boxes, places)
        suppression = NonMaxSuppression(
            iou_threshold=self.iou_threshold, max_outputs=min(count, self.after), min_size=self.min_size
        )
        stay = builder.add_all("suppression", suppression, boxes, best)[0]
        there = builder.add("ones", Affine(scale=0.0, shift=1.0), best)
        there = builder.add("there", TakeRows(), there, stay)
        scores = builder.add("stay", TakeRows(), best, stay)
        lowest = builder.add("lowest", Affine(scale=0.0, shift=LOWEST), scores)
        return builder.add("boxes", TakeRows(), boxes, stay), builder.add("scores", Select(), there, scores, lowest)


@dataclass(frozen=True, kw_only=True)
class PyramidRoIAlign(Composite, kind="pyramid_roi_align"):
    """Features of each region, sampled from the level of the pyramid that fits its size.

    Of levels l = 0, 1 ..., each half as fine as the one before, a region of w by h pixels has l = floor(log2(sqrt(w h)
    / finest)), at least 0 and at most the last one. Each region is pooled once, from its level.

    Args:
        output_size: Of the grid laid over each region.
        strides: Of each level: pixels of the image from one position to the next; each twice the one before.
        finest: The size in pixels from which on a region has level 0, and 1 from twice of it on: 224 / 4 where the
            first of four levels has stride 4, so that the third has 224 and its stride is 16.
        sampling_ratio: As ``RoIAlign``.
        aligned: As ``RoIAlign``.

    Shapes:
        features (N, C, H_l, W_l) of each level, regions (N, R, 4) -> (N R, C, *grid). No gradient goes to regions.
        Source: arXiv:1612.03144, equation 1; torchvision's ``MultiScaleRoIAlign``.
    """

    output_size: PerAxis
    strides: tuple[int, ...]
    finest: float = 56.0
    sampling_ratio: int = 2
    aligned: bool = False

    example = Example(
        (1, 2, 12, 12), (1, 2, 6, 6), (1, 5, 4), output_size=2, strides=(1, 2), finest=3.0, sampling_ratio=2
    )
    num_inputs = (2, None)

    def resolve(self, inputs: Shapes) -> Self:
        *features, regions = inputs
        channels = {shape[:2] for shape in features}
        if len(regions) != 3 or regions[2] != 4 or len(channels) != 1 or channels.pop()[0] != regions[0]:
            expected = "(N, C, H, W) of each level and (N, R, 4)"
            raise SpecError("the inputs do not fit", received=inputs, expected=expected)
        if len(self.strides) != len(features) or any(
            coarse != 2 * fine for fine, coarse in zip(self.strides, self.strides[1:], strict=False)
        ):
            expected = f"{len(features)} strides, each twice the one before"
            raise FieldError("strides", "are not valid", received=self.strides, expected=expected)
        if not self.finest > 0:
            raise FieldError("finest", received=self.finest, expected="a positive number of pixels")
        return replace(self, output_size=per_axis(self.output_size, 2, "output_size", least=1))

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        *features, regions = inputs
        rows = builder.add("rows", Reshape(shape=(-1, 4), whole=True), regions)
        grid = require_axes(self.output_size)
        if len(features) == 1:
            scale = 1 / self.strides[0]
            align = RoIAlign(
                output_size=grid, spatial_scale=scale, sampling_ratio=self.sampling_ratio, aligned=self.aligned
            )
            return builder.add("pooled", align, features[0], rows)
        pool = LevelRoIAlign(
            output_size=grid,
            strides=tuple(map(float, self.strides)),
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )
        return builder.add("pooled", pool, rows, self._level(builder, rows), *features)

    def _level(self, builder: Builder, rows: Value) -> Value:
        """(N R, 1) integers: of the sums of area / threshold - 1 over the first thresholds the largest."""
        x1, y1, x2, y2 = builder.add_all("corner", Split(sizes=4, axis=1), rows)
        width, height = builder.add("width", Subtract(), x2, x1), builder.add("height", Subtract(), y2, y1)
        area = builder.add("area", Multiply(), width, height)
        total = builder.add("above0", Affine(scale=0.0), area)
        sums = [total]
        for level in range(1, len(self.strides)):
            threshold = (self.finest * 2**level) ** 2 * 4**-TOLERANCE
            above = builder.add(f"excess{level}", Affine(scale=1 / threshold, shift=-1.0), area)
            total = builder.add(f"above{level}", Add(), total, above)
            sums.append(total)
        every = builder.add("sums", Concat(axis=1), *sums)
        return builder.add("level", ArgReduce(function="argmax", axis=1), every)
