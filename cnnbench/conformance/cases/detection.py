"""Detectors: cases shared by all backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.conformance.cases.case import Draw, LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, RoIMaxPool, TakeRows

FEATURES: Shape = (3, 9, 12)


def boxes(size: float = 64.0) -> Draw:
    """Boxes (x1, y1, x2, y2), some beyond an image of this size; coordinates are multiples of 1/16, and odd ones."""

    def draw(generator: Any, shape: Shape) -> Any:
        first = generator.uniform(-8.0, size, (*shape[:-1], 2))
        return np.round(np.concatenate([first, first + generator.uniform(1, size, first.shape)], -1) * 16 + 0.25) / 16

    return draw


def images(count: int) -> Draw:
    """Which image a box is of."""
    return lambda generator, shape: generator.integers(0, count, shape)


def lattice(generator: Any, shape: Shape) -> Any:
    """Boxes on a coarse grid of whole numbers: many overlaps are equal, some are just the threshold, some are empty."""
    first = generator.integers(0, 4, (*shape[:-1], 2))
    return np.concatenate([first, first + generator.integers(0, 4, first.shape)], -1).astype(float)


def crowded(generator: Any, shape: Shape) -> Any:
    """Boxes around a few places, so that chains of suppression arise."""
    centre = generator.integers(0, 3, (*shape[:-1], 2)) * 8.0
    half = generator.uniform(2, 6, centre.shape)
    return np.concatenate([centre - half, centre + half], -1)


def centred(generator: Any, shape: Shape) -> Any:
    """The same as centres and sizes."""
    corners = crowded(generator, shape)
    return np.concatenate([(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], -1)


def flipped(generator: Any, shape: Shape) -> Any:
    """Corners in any order."""
    corners = crowded(generator, shape)
    swap = generator.random((*shape[:-1], 1)) < 0.5
    return np.where(swap, corners[..., [2, 1, 0, 3]], corners)


def tied_scores(generator: Any, shape: Shape) -> Any:
    """Few different scores."""
    return generator.integers(0, 4, shape) / 4.0


def rows_or_none(count: int) -> Draw:
    """Indices of rows, some -1."""
    return lambda generator, shape: generator.integers(-1, count, shape)


def regions(layer: RoIMaxPool) -> LayerCase:
    """Boxes of given images on shared features."""
    return LayerCase(layer, (FEATURES, (5, 4), (5,)), draws=(None, boxes(), images(2)), batched=(True, False, False))


def _suppression(draw: Draw, scores: Draw | None = None, count: int = 24, **fields: Any) -> LayerCase:
    layer = NonMaxSuppression(**{"iou_threshold": 0.4, "max_outputs": 10, **fields})
    return LayerCase(layer, ((count, 4), (count,)), draws=(draw, scores))


CASES = {
    "roi_max_pool/quarter": regions(RoIMaxPool(output_size=(2, 3), spatial_scale=0.25)),
    "roi_max_pool/finer_than_pixels": regions(RoIMaxPool(output_size=7, spatial_scale=0.0625)),
    "roi_max_pool/shared_out": LayerCase(
        RoIMaxPool(output_size=(3, 2), spatial_scale=0.125), (FEATURES, (4,)), draws=(None, boxes())
    ),
    "anchor_grid/rounded": LayerCase(AnchorGrid(sizes=(15.0, 32.0), stride=(8, 16)), ((2, 4, 6),)),
    "anchor_grid/exact": LayerCase(
        AnchorGrid(sizes=(20.0,), aspect_ratios=(0.3, 1.0), stride=8, rounded=False), ((2, 3, 5),)
    ),
    "non_max_suppression/crowded": _suppression(crowded),
    "non_max_suppression/threshold_met": _suppression(lattice, iou_threshold=0.5),
    "non_max_suppression/ties": _suppression(crowded, tied_scores),
    "non_max_suppression/center": _suppression(centred, box_format="center"),
    "non_max_suppression/flipped": _suppression(flipped, iou_threshold=0.2),
    "non_max_suppression/thresholds": _suppression(crowded, score_threshold=0.1, min_size=6.0),
    "non_max_suppression/more_outputs_than_boxes": _suppression(crowded, count=6),
    "take_rows/some_none": LayerCase(TakeRows(), ((5, 4), (7,)), draws=(None, rows_or_none(5))),
    "take_rows/vectors_of_none": LayerCase(TakeRows(), ((5,), (3,)), draws=(None, rows_or_none(5))),
}
