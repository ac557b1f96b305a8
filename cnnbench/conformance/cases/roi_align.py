"""Regions sampled between pixels: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.detection import FEATURES, boxes, images, regions
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.roi_align import LevelRoIAlign, RoIAlign


def _levels(layer: LevelRoIAlign, *features: Shape, size: float = 56.0) -> LayerCase:
    """A box of each image, some beyond it, each of a level that its size has nothing to do with."""
    return LayerCase(
        layer,
        ((4,), (1,), *features),
        batch=6,
        draws=(boxes(size), images(len(features)), *(None,) * len(features)),
        differences=False,
    )


CASES = {
    "roi_align/aligned": regions(RoIAlign(output_size=(2, 3), spatial_scale=0.25, sampling_ratio=2)),
    "roi_align/not_aligned": regions(RoIAlign(output_size=3, spatial_scale=0.125, sampling_ratio=2, aligned=False)),
    "roi_align/adaptive": regions(RoIAlign(output_size=(3, 2), spatial_scale=0.25)),
    "roi_align/one_sample": regions(RoIAlign(output_size=(1, 4), spatial_scale=0.25, sampling_ratio=1)),
    "roi_align/max": regions(RoIAlign(output_size=(3, 2), spatial_scale=0.25, sampling_ratio=2, mode="max")),
    "roi_align/adaptive_max": regions(RoIAlign(output_size=(2, 3), spatial_scale=0.25, mode="max")),
    "roi_align/shared_out": LayerCase(
        RoIAlign(output_size=2, spatial_scale=0.125, sampling_ratio=2), (FEATURES, (4,)), draws=(None, boxes())
    ),
    "level_roi_align/three_levels": _levels(
        LevelRoIAlign(output_size=(2, 3), strides=(4.0, 8.0, 16.0)), (3, 16, 20), (3, 8, 10), (3, 4, 5), size=64.0
    ),
    "level_roi_align/aligned": _levels(
        LevelRoIAlign(output_size=3, strides=(8.0, 4.0), sampling_ratio=1, aligned=True), (2, 5, 7), (2, 9, 12)
    ),
    "level_roi_align/adaptive": _levels(
        LevelRoIAlign(output_size=2, strides=(4.0, 8.0), sampling_ratio=0), (2, 12, 9), (2, 6, 5), size=36.0
    ),
}
