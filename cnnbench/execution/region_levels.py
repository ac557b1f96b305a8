"""What backends share of sampling regions: where each level's rows begin, and the sample points along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.roi_align import RoIAlign


class RegionLevels(NamedTuple):
    """Levels of features whose pixels lie as rows one after another, image after image, level after level.

    Args:
        begins: The first row of each level.
        scales: From the boxes' coordinates to each level's.
        heights, widths: Of each level.
        most: The largest number of samples of a cell on any level, along each axis.
    """

    begins: tuple[int, ...]
    scales: tuple[float, ...]
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    most: tuple[int, int]

    @staticmethod
    def of(layers: Sequence[RoIAlign], images: int, sizes: Sequence[Shape]) -> RegionLevels:
        """Those of features.

        Args:
            layers: How each level is sampled.
            images: Of the batch.
            sizes: (height, width) of each level.
        """
        begins = [0]
        for height, width in sizes:
            begins.append(begins[-1] + images * height * width)
        heights, widths = zip(*sizes, strict=True)
        most = [
            max(layer.most_samples(axis, size[axis]) for layer, size in zip(layers, sizes, strict=True))
            for axis in (0, 1)
        ]
        scales = tuple(layer.spatial_scale for layer in layers)
        return RegionLevels(tuple(begins[:-1]), scales, heights, widths, (most[0], most[1]))


class RegionSource(NamedTuple):
    """What each box is pooled from: the first row of its image, and scale, height and width of its features (R,)."""

    first: Any
    scale: Any
    sizes: tuple[Any, Any]
    most: tuple[int, int]


class RegionSamples(NamedTuple):
    """The sample points of every box along an axis: two pixels and their weights for each, and S by box (R,)."""

    low: Any
    high: Any
    at_low: Any
    at_high: Any
    count: Any
