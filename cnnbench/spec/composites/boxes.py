"""Arithmetic of boxes (x1, y1, x2, y2): overlaps, encodings, clipping, region proposal, YOLO's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise
from cnnbench.spec.layers.base import Example, Shapes, require_int
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.merge import Add, Concat, Divide, Maximum, Minimum, Multiply, Select, Subtract
from cnnbench.spec.layers.shape import Reshape, Transpose

LARGEST_GROWTH = math.log(1000 / 16)  # of a side by its decoded logarithm: from stride 16 to 1000 pixels (Detectron)


def overlap(builder: Builder, a: tuple[Value, ...], b: tuple[Value, ...]) -> Value:
    """The parts of intersection over union of corners (x1, y1, x2, y2) that meet by broadcasting; 0 / 0 is 0.

    Args:
        builder: Where the nodes go.
        a: Four values of one shape: the corners x1, y1, x2, y2 of some boxes.
        b: The same of the others.
    """
    sides = []
    for axis, name in enumerate("xy"):
        low = builder.add(f"{name}_low", Maximum(), a[axis], b[axis])
        high = builder.add(f"{name}_high", Minimum(), a[axis + 2], b[axis + 2])
        sides.append(
            builder.add(f"{name}_common", Clip(minimum=0.0), builder.add(f"{name}_side", Subtract(), high, low))
        )
    common = builder.add("common", Multiply(), *sides)
    areas = []
    for name, box in (("a", a), ("b", b)):
        width = builder.add(f"{name}_width", Subtract(), box[2], box[0])
        areas.append(
            builder.add(f"{name}_area", Multiply(), width, builder.add(f"{name}_height", Subtract(), box[3], box[1]))
        )
    union = builder.add("union", Subtract(), builder.add("areas", Add(broadcast=True), *areas), common)
    one = builder.add("one", Affine(scale=0.0, shift=1.0), union)
    return builder.add("iou", Divide(), common, builder.add("divisor", Select(), union, union, one))


def _corners(builder: Builder, name: str, boxes: Value) -> tuple[Value, ...]:
    return builder.add_all(name, Split(sizes=4, axis=-1), boxes)


def _check_boxes(shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or shape[-1] != 4:
        raise SpecError("the boxes have the wrong shape", received=shape, expected="(..., 4)")


@dataclass(frozen=True, kw_only=True)
class BoxIoU(Composite, kind="box_iou"):
    """Intersection over union of every box of one set with every box of another; 0 where the union is 0.

    (torchvision's ``box_iou`` gives NaN there.) The gradient is that of minima, maxima and quotients.

    Shapes:
        (..., N, 4), (..., M, 4) with x1 <= x2 and y1 <= y2 -> (..., N, M).
    """

    example = Example((1, 5, 4), (1, 7, 4))
    num_inputs = (2, 2)

    def resolve(self, inputs: Shapes) -> Self:
        for shape in inputs:
            _check_boxes(shape)
        if inputs[0][:-2] != inputs[1][:-2]:
            raise SpecError("the leading axes differ", received=inputs, expected="(..., N, 4) and (..., M, 4)")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        rank = len(inputs[0].shape)
        across = Transpose(permutation=(*range(rank - 2), rank - 1, rank - 2))
        b = _corners(builder, "b", inputs[1])
        turned = tuple(builder.add(f"b{i}_across", across, corner) for i, corner in enumerate(b))
        return overlap(builder, _corners(builder, "a", inputs[0]), turned)


@dataclass(frozen=True, kw_only=True)
class _BoxCoding(Composite):
    """What encoding and decoding share.

    Args:
        scales: Of x, y, width and height; (10, 10, 5, 5) in the heads of Fast and Faster R-CNN, 1 in region proposal.
    """

    scales: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    example = Example((1, 4), (1, 4))
    num_inputs = (2, 2)

    def resolve(self, inputs: Shapes) -> Self:
        for shape in inputs:
            _check_boxes(shape)
        first, second = inputs
        if second not in (first, first[1:]):
            raise SpecError("boxes and anchors differ in shape", received=inputs, expected="(..., A, 4) for both")
        if any(not scale > 0 for scale in self.scales):
            raise FieldError("scales", "are not valid", received=self.scales, expected="positive numbers")
        return self

    def anchors(self, builder: Builder, first: Value, anchors: Value) -> tuple[Value, Value, Value, Value]:
        """Centre and size of the anchors, which serve all images where they have no batch axis."""
        if len(anchors.shape) < len(first.shape):
            anchors = builder.add("shared", Reshape(shape=(1, *anchors.shape), whole=True), anchors)
        return centre_and_size(builder, "anchor", anchors)


def centre_and_size(builder: Builder, name: str, boxes: Value) -> tuple[Value, Value, Value, Value]:
    """The parts (centre x, centre y, width, height) of corners.

    Args:
        builder: Where the nodes go.
        name: What the nodes' names start with.
        boxes: (..., 4); each part is (..., 1).
    """
    corners = _corners(builder, name, boxes)
    sizes = [builder.add(f"{name}_{axis}", Subtract(), corners[i + 2], corners[i]) for i, axis in enumerate("wh")]
    halves = [
        builder.add(f"{name}_half_{axis}", Affine(scale=0.5), size) for axis, size in zip("wh", sizes, strict=True)
    ]
    centres = [builder.add(f"{name}_{axis}", Add(), corners[i], halves[i]) for i, axis in enumerate("xy")]
    return centres[0], centres[1], sizes[0], sizes[1]


@dataclass(frozen=True, kw_only=True)
class BoxEncode(_BoxCoding, kind="box_encode"):
    """Boxes relative to anchors: (s_x (x - a_x) / a_w, s_y (y - a_y) / a_h, s_w log(w / a_w), s_h log(h / a_h)).

    Args:
        scales: The factors (s_x, s_y, s_w, s_h); (10, 10, 5, 5) in the heads of Fast and Faster R-CNN.

    Shapes:
        boxes (..., A, 4), anchors (..., A, 4) or without the batch axis -> (..., A, 4).
        Source: R-CNN (arXiv:1311.2524, appendix C); torchvision's ``BoxCoder``.
    """

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        anchor = self.anchors(builder, *inputs)
        box = centre_and_size(builder, "box", inputs[0])
        parts = []
        for i, name in enumerate("xywh"):
            size = anchor[2 + i % 2]
            if i < 2:
                way = builder.add(f"way_{name}", Subtract(), box[i], anchor[i])
                part = builder.add(f"share_{name}", Divide(), way, size)
            else:
                ratio = builder.add(f"ratio_{name}", Divide(), box[i], size)
                part = builder.add(f"log_{name}", Elementwise(function="log"), ratio)
            parts.append(builder.add(f"delta_{name}", Affine(scale=self.scales[i]), part))
        return builder.add("deltas", Concat(axis=-1), *parts)


@dataclass(frozen=True, kw_only=True)
class BoxDecode(_BoxCoding, kind="box_decode"):
    """The inverse of ``BoxEncode``: corners from deltas, each divided by its scale.

    Args:
        scales: Those with which the boxes were encoded.
        largest_growth: The logarithms of width and height are kept at or below it before exp. None: no limit.

    Shapes:
        deltas (..., A, 4), anchors (..., A, 4) or without the batch axis -> (..., A, 4).
        Source: as ``BoxEncode``; the limit is Detectron's.
    """

    largest_growth: float | None = LARGEST_GROWTH

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        anchor = self.anchors(builder, *inputs)
        deltas = builder.add_all("delta", Split(sizes=4, axis=-1), inputs[0])
        low, high = [], []
        for i, name in enumerate("xy"):
            size = anchor[2 + i]
            share = builder.add(f"share_{name}", Affine(scale=1 / self.scales[i]), deltas[i])
            centre = builder.add(
                f"centre_{name}", Add(broadcast=True), builder.add(f"way_{name}", Multiply(), share, size), anchor[i]
            )
            growth = builder.add(f"growth_{name}", Affine(scale=1 / self.scales[2 + i]), deltas[2 + i])
            if self.largest_growth is not None:
                growth = builder.add(f"clipped_{name}", Clip(maximum=self.largest_growth), growth)
            factor = builder.add(f"factor_{name}", Elementwise(function="exp"), growth)
            half = builder.add(f"half_{name}", Affine(scale=0.5), builder.add(f"size_{name}", Multiply(), factor, size))
            low.append(builder.add(f"low_{name}", Subtract(), centre, half))
            high.append(builder.add(f"high_{name}", Add(), centre, half))
        return builder.add("boxes", Concat(axis=-1), *low, *high)


@dataclass(frozen=True, kw_only=True)
class BoxClip(Composite, kind="box_clip"):
    """Corners moved into the image: x to [0, width], y to [0, height].

    Args:
        height: The image's height, in the unit of the boxes.
        width: The image's width, in the same unit.

    Shapes: (..., 4) -> the same.
    """

    height: int
    width: int

    example = Example((1, 6, 4), height=30, width=50)

    def resolve(self, inputs: Shapes) -> Self:
        _check_boxes(inputs[0])
        require_int(self.height, "height", least=1)
        require_int(self.width, "width", least=1)
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        corners = _corners(builder, "corner", inputs[0])
        limits = (self.width, self.height) * 2
        kept = [
            builder.add(f"kept{i}", Clip(minimum=0.0, maximum=float(limit)), corner)
            for i, (corner, limit) in enumerate(zip(corners, limits, strict=True))
        ]
        return builder.add("boxes", Concat(axis=-1), *kept)
