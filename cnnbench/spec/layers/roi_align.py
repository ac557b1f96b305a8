"""Regions sampled between pixels: of one feature map, or each of its own level of a pyramid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int, require_one_of
from cnnbench.spec.layers.detection import RoIMaxPool
from cnnbench.spec.layers.windows import PerAxis


@dataclass(frozen=True, kw_only=True)
class RoIAlign(RoIMaxPool, kind="roi_align"):
    """Features sampled bilinearly at regular points of each cell of a grid laid over each region, and averaged.

    Along an axis a region starts at x1 spatial_scale - o and is n = (x2 - x1) spatial_scale long, o = 1/2 if
    ``aligned``; sample s of S of cell j lies at start + (n / out) (j + (s + 1/2) / S). Beyond -1 or the size it
    counts as 0; else it is clamped to the first and last pixel's centre and interpolated between two pixels.

    Args:
        output_size: Of the grid laid over each region: one integer for both axes or one each.
        spatial_scale: From the boxes' coordinates to the features': 1 / stride.
        sampling_ratio: S. 0: ceil(n / out), a number for each box and axis; at most ceil(size / out) of the features,
            which shapes that are known beforehand need and which boxes within the image do not exceed.
        aligned: Whether pixel i's centre lies at i + 1/2 of the continuous axis (torchvision's ``aligned=True``, ONNX's
            ``half_pixel``). Otherwise it lies at i, and a region is at least one pixel long.
        mode: ``avg``, or ``max``: the largest of all samples' four products of a pixel and its interpolation weight,
            which is ONNX's meaning and not the largest interpolated value.

    Shapes:
        As ``RoIMaxPool``. Source: Mask R-CNN (arXiv:1703.06870, section 3); torchvision's ``roi_align``,
        ONNX's RoiAlign.
    """

    sampling_ratio: int = 0
    aligned: bool = True
    mode: Literal["avg", "max"] = "avg"

    def resolve(self, inputs: Shapes) -> Self:
        require_int(self.sampling_ratio, "sampling_ratio", least=0)
        require_one_of(self.mode, "mode", ("avg", "max"))
        return super().resolve(inputs)

    def most_samples(self, axis: int, size: int) -> int:
        """The largest S along an axis of the grid over features of this size."""
        return self.sampling_ratio or max(-(-size // self.grid()[axis]), 1)


@dataclass(frozen=True, kw_only=True)
class LevelRoIAlign(Layer, kind="level_roi_align"):
    """``RoIAlign`` of several feature maps, each region from the one whose number it is given; no other is read.

    Args:
        output_size: As ``RoIAlign``.
        strides: Of each level: pixels of the boxes' coordinates from one position to the next.
        sampling_ratio: As ``RoIAlign``.
        aligned: As ``RoIAlign``.

    Shapes:
        boxes (R, 4) as (x1, y1, x2, y2), levels (R, 1) integers, features (N, C, H_l, W_l) of each level
        -> (R, C, *grid). Box r is of image floor(r N / R), R being a multiple of N. No gradient goes to boxes.
        Source: torchvision's ``MultiScaleRoIAlign``, Detectron2's ``ROIPooler``.
    """

    output_size: PerAxis
    strides: tuple[float, ...]
    sampling_ratio: int = 2
    aligned: bool = False

    example = Example((4, 4), (4, 1), (1, 2, 8, 8), (1, 2, 4, 4), output_size=2, strides=(1.0, 2.0))
    num_inputs = (3, None)
    int_inputs = (1,)
    no_gradient_to = (0,)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        boxes, levels, *features = inputs
        if len(self.strides) != len(features):
            raise FieldError(
                "strides", "are not valid", received=self.strides, expected=f"{len(features)}, one a level"
            )
        if len({shape[:2] for shape in features}) != 1 or levels != (boxes[0], 1):
            expected = "(R, 4), (R, 1) and (N, C, H, W) of each level"
            raise SpecError("the inputs do not fit", received=inputs, expected=expected)
        alone = [self.of_level(level).resolve((shape, boxes)) for level, shape in enumerate(features)]
        return replace(self, output_size=alone[0].grid())

    def of_level(self, level: int) -> RoIAlign:
        """The layer that pools the regions of one level."""
        return RoIAlign(
            output_size=self.output_size,
            spatial_scale=1 / self.strides[level],
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )

    def output_shapes(self, inputs: Shapes) -> Shapes:
        if inputs[2][0] and inputs[0][0] % inputs[2][0]:
            expected = f"as many boxes of each of the {inputs[2][0]} images"
            raise SpecError("the boxes do not fit the images", received=inputs[0][0], expected=expected)
        return self.of_level(0).output_shapes((inputs[2], inputs[0]))

    def num_indices(self, inputs: Shapes) -> int:
        return len(inputs) - 2
