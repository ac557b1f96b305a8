"""Arithmetic of boxes: cases shared by all backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.conformance.cases.detection import boxes, crowded
from cnnbench.spec.composites.boxes import BoxClip, BoxDecode, BoxEncode, BoxIoU
from cnnbench.spec.layers import Shape


def with_empty(generator: Any, shape: Shape) -> Any:
    """Boxes of which the first of each image is a point and the same in every image: two of them have a union of 0."""
    found = np.array(crowded(generator, shape))
    found[..., 0, :] = 3.0
    return found


HEAD = (10.0, 10.0, 5.0, 5.0)

CASES = {
    "box_iou/images": LayerCase(BoxIoU(), ((5, 4), (7, 4)), draws=(with_empty, with_empty)),
    "box_iou/one_set": LayerCase(BoxIoU(), ((5, 4), (3, 4)), draws=(with_empty, with_empty), batched=(False, False)),
    "box_encode/head": LayerCase(BoxEncode(scales=HEAD), ((4,), (4,)), batch=6, draws=(boxes(), boxes())),
    "box_encode/shared_anchors": LayerCase(
        BoxEncode(), ((5, 4), (5, 4)), draws=(boxes(), boxes()), batched=(True, False)
    ),
    "box_decode/head": LayerCase(BoxDecode(scales=HEAD), ((4,), (4,)), batch=6, draws=(None, boxes())),
    "box_decode/shared_anchors": LayerCase(
        BoxDecode(), ((5, 4), (5, 4)), draws=(None, boxes()), batched=(True, False), scale=3.0
    ),
    "box_decode/unlimited": LayerCase(BoxDecode(largest_growth=None), ((4,), (4,)), batch=6, draws=(None, boxes())),
    "box_clip/image": LayerCase(BoxClip(height=30, width=50), ((6, 4),), draws=(boxes(),)),
}
