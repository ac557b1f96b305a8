"""A tiny detector with two boxes of one score, which is summed in two orders: rounding says which comes first."""

from __future__ import annotations

from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, Conv
from cnnbench.spec.layers.detection import NonMaxSuppression, TakeRows
from cnnbench.spec.layers.merge import Concat
from cnnbench.spec.layers.pooling import GlobalAvgPool
from cnnbench.spec.layers.shape import Flatten


def tied_detector():
    """The scores are (p + q) + r, p + (q + r) and r; boxes, whose corners are an input, go if they overlap at all."""
    b = Builder("tied_detector")
    image, boxes = b.input("image", (1, 8, 8)), b.input("boxes", (3, 4))
    p, q, r = (
        b.add(f"part{i}", GlobalAvgPool(), b.add(f"conv{i}", Conv(out_channels=1, kernel_size=3), image))
        for i in range(3)
    )
    left = b.add("left", Add(), b.add("left_pair", Add(), p, q), r)
    right = b.add("right", Add(), p, b.add("right_pair", Add(), q, r))
    scores = b.add("scores", Concat(axis=1), left, right, r)
    rows = b.add("rows", Flatten(), scores)
    indices, _ = b.add_all("suppression", NonMaxSuppression(iou_threshold=0.0, max_outputs=3), boxes, rows)
    return b.build({"kept": b.add("kept", TakeRows(), boxes, indices)})
