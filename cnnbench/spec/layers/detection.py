"""Layers of detectors that are no arithmetic of boxes: regions of features, anchors, suppression."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Dtypes, Example, Layer, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.windows import PerAxis, per_axis, require_axes

BoxFormat = Literal["corners", "center"]


@dataclass(frozen=True, kw_only=True)
class RoIMaxPool(Layer, kind="roi_max_pool"):
    """The maximum of each cell of a grid laid over each region.

    A corner is x' = round(x spatial_scale), half away from zero; a region has max(x2' - x1' + 1, 1) = n columns, of
    which output column j sees floor(j n / out) to ceil((j + 1) n / out), cut to the features; an empty cell gives 0.
    The quotients are integer arithmetic: an implementation that multiplies j by a rounded n / out may see one more.

    Args:
        output_size: Rows and columns of the grid.
        spatial_scale: From the boxes' coordinates to the features': 1 / stride.

    Shapes:
        features (N, C, H, W), boxes (R, 4) as (x1, y1, x2, y2) [, image of each box (R,) integers] -> (R, C, *grid).
        Without the third input box r is of image floor(r N / R), R being a multiple of N. No gradient goes to boxes.
        Source: Fast R-CNN (arXiv:1504.08083, section 2.1); torchvision's ``roi_pool``, ONNX's MaxRoiPool.
    """

    output_size: PerAxis
    spatial_scale: float = 1.0

    example = Example((1, 4, 6, 6), (1, 4), output_size=2)
    num_inputs = (2, 3)
    int_inputs = (2,)
    no_gradient_to = (1,)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        _check_regions(inputs, self.kind, self.spatial_scale)
        return replace(self, output_size=per_axis(self.output_size, 2, "output_size", least=1))

    def grid(self) -> Shape:
        """Rows and columns of a resolved layer's output."""
        return require_axes(self.output_size)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return ((inputs[1][0], inputs[0][1], *self.grid()),)


def _check_regions(inputs: Shapes, kind: str, spatial_scale: float) -> None:
    require_rank(inputs[0], kind, least=4, most=4)
    if not spatial_scale > 0:
        raise FieldError("spatial_scale", received=spatial_scale, expected="a positive number")
    boxes = inputs[1]
    if len(boxes) != 2 or boxes[1] != 4:
        raise SpecError("the boxes have the wrong shape", received=boxes, expected="(R, 4)")
    if len(inputs) == 3 and inputs[2] != boxes[:1]:
        raise SpecError("the images of the boxes have the wrong shape", received=inputs[2], expected=boxes[:1])
    if len(inputs) == 2 and inputs[0][0] and boxes[0] % inputs[0][0]:
        raise SpecError(
            "the boxes are not the same number for each image",
            received=f"{boxes[0]} boxes, {inputs[0][0]} images",
            expected="a multiple",
            remedy="give each box's image as a third input",
        )


@dataclass(frozen=True, kw_only=True)
class AnchorGrid(Layer, kind="anchor_grid"):
    """Boxes of fixed sizes and shapes around every position of a feature map; its values are not looked at.

    A box of size s and aspect ratio r is w = s / sqrt(r) wide and h = s sqrt(r) high: corners (-w, -h, w, h) / 2,
    rounded half to even if ``rounded``, around (x, y) = stride (column, row).

    Args:
        sizes: s, in pixels of the image.
        aspect_ratios: r = height / width.
        stride: Pixels of the image from one row, and one column, to the next.
        rounded: Whether corners around the centre are whole numbers (torchvision, Detectron).

    Shapes:
        (N, C, H, W) -> (H W A, 4) as (x1, y1, x2, y2) with A = len(aspect_ratios) len(sizes); the row varies slowest,
        then the column, the ratio and the size. No gradient. Source: Faster R-CNN (arXiv:1506.01497, section 3.1.1);
        torchvision's ``AnchorGenerator``.
    """

    sizes: tuple[float, ...]
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    stride: PerAxis = 16
    rounded: bool = True

    example = Example((1, 4, 6, 6), sizes=(16.0, 32.0))
    layout_rule = "spatial"
    differentiable = False
    no_gradient_to = (0,)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=4, most=4)
        for name, values in (("sizes", self.sizes), ("aspect_ratios", self.aspect_ratios)):
            if not values or any(not value > 0 for value in values):
                raise FieldError(name, received=values, expected="positive numbers")
        return replace(self, stride=per_axis(self.stride, 2, "stride", least=1))

    def around_origin(self) -> tuple[tuple[float, float, float, float], ...]:
        """The A boxes around position (0, 0)."""
        boxes = []
        for ratio in self.aspect_ratios:
            for size in self.sizes:
                x, y = size / math.sqrt(ratio) / 2, size * math.sqrt(ratio) / 2
                x, y = (float(round(x)), float(round(y))) if self.rounded else (x, y)
                boxes.append((-x, -y, x, y))
        return tuple(boxes)

    def strides(self) -> Shape:
        """Of rows and columns, of a resolved layer."""
        return require_axes(self.stride)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        count = len(self.sizes) * len(self.aspect_ratios)
        return ((inputs[0][2] * inputs[0][3] * count, 4),)


@dataclass(frozen=True, kw_only=True)
class NonMaxSuppression(Layer, kind="non_max_suppression"):
    """Greedy suppression: the best box stays, those that overlap it too much go, and so on.

    Boxes are visited by falling score, equal scores by rising index. A box stays unless an earlier one that stayed has
    with it an intersection over union above ``iou_threshold``; an IoU equal to it does not suppress. A union of 0
    overlaps nothing.

    Args:
        iou_threshold: From 0 to 1.
        max_outputs: K, the length of the answer whatever the data are.
        score_threshold: Only boxes with a greater score take part; None for all (TensorFlow's and ONNX's comparison).
        min_size: Only boxes at least so wide and so high take part (RPN); None for all.
        box_format: ``corners`` (x1, y1, x2, y2), any two opposite corners; or (y1, x1, y2, x2), which is the same.
            ``center``: (centre x, centre y, width, height).

    Shapes:
        boxes (..., B, 4), scores (..., B) -> indices (..., K) integers by falling score, -1 behind the last; count
        (...) integers. Leading axes are taken one by one. No gradient.
        Source: ONNX's and TensorFlow's NonMaxSuppression, torchvision's ``nms``.
    """

    iou_threshold: float
    max_outputs: int
    score_threshold: float | None = None
    min_size: float | None = None
    box_format: BoxFormat = "corners"

    example = Example((1, 8, 4), (1, 8), iou_threshold=0.5, max_outputs=4)
    num_inputs = (2, 2)
    layout_rule = "canonical"
    differentiable = False
    no_gradient_to = (0, 1)

    def resolve(self, inputs: Shapes) -> Self:
        boxes, scores = inputs
        if len(boxes) < 2 or boxes[-1] != 4 or boxes[:-1] != scores:
            raise SpecError(
                "boxes and scores do not fit", received=f"{boxes} and {scores}", expected="(..., B, 4) and (..., B)"
            )
        if not 0 <= self.iou_threshold <= 1:
            raise FieldError("iou_threshold", received=self.iou_threshold, expected="a number from 0 to 1")
        require_int(self.max_outputs, "max_outputs", least=1)
        require_one_of(self.box_format, "box_format", ("corners", "center"))
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        batch = inputs[1][:-1]
        return (*batch, self.max_outputs), batch

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        return ("int", "int")


@dataclass(frozen=True, kw_only=True)
class TakeRows(Layer, kind="take_rows"):
    """The rows of each image that indices name, and rows of zeros for negative indices.

    Shapes:
        values (N, B, ...), indices (N, K) integers below B -> (N, K, ...). The gradient of a row sums over those that
        took it. It is how the answer of ``NonMaxSuppression`` is used.
    """

    example = Example((1, 5, 4), (1, 7))
    num_inputs = (2, 2)
    int_inputs = (1,)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        values, indices = inputs
        if len(values) < 2 or len(indices) != 2 or values[0] != indices[0]:
            raise SpecError(
                "values and indices do not fit", received=f"{values} and {indices}", expected="(N, B, ...) and (N, K)"
            )
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        values, indices = inputs
        return ((*indices, *values[2:]),)

    def num_indices(self, inputs: Shapes) -> int:
        return inputs[0][1]
