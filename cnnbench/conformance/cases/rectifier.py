"""Rectifiers: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
    ThresholdedReLU,
)

CASES = {
    "relu6/plain": LayerCase(ReLU6(), EVEN, scale=6.0),
    "leaky_relu/default": LayerCase(LeakyReLU(), EVEN),
    "leaky_relu/darknet": LayerCase(LeakyReLU(negative_slope=0.1), EVEN),
    "leaky_relu/steep": LayerCase(LeakyReLU(negative_slope=1.5), ((3, 7),)),  # max(x, slope x) would be wrong
    "leaky_relu/negative": LayerCase(LeakyReLU(negative_slope=-0.5), ROW),
    "prelu/one": LayerCase(PReLU(), EVEN),
    "prelu/channel": LayerCase(PReLU(slopes="channel"), EVEN),
    "prelu/row": LayerCase(PReLU(slopes="channel"), ROW, batch=3),
    "prelu/3d": LayerCase(PReLU(slopes="channel"), ((3, 2, 5, 4),), batch=1),
    "thresholded_relu/plain": LayerCase(ThresholdedReLU(), EVEN, scale=2.0),
    "thresholded_relu/negative": LayerCase(ThresholdedReLU(alpha=-0.3), EVEN),
    "shrink/hard": LayerCase(Shrink(), EVEN),
    "shrink/soft": LayerCase(Shrink(threshold=0.7, bias=0.7), EVEN),
    "shrink/offset": LayerCase(Shrink(threshold=0.5, bias=1.5), EVEN),
    "hard_sigmoid/sixth": LayerCase(HardSigmoid(), EVEN, scale=3.0),
    "hard_sigmoid/fifth": LayerCase(HardSigmoid(slope=0.2), EVEN, scale=3.0),
    "hard_sigmoid/shifted": LayerCase(HardSigmoid(slope=0.4, offset=0.2), ROW, scale=2.0),
    "hard_swish/plain": LayerCase(HardSwish(), EVEN, scale=3.0),
}
