"""Long sums of positive values: what a narrow accumulator loses cannot hide behind cancellation."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.layers import AvgPool, ChannelAffine, Conv, GlobalAvgPool, Linear, Shape
from cnnbench.spec.layers.indexing import GatherIndices


def _of_two_rows(generator: Any, shape: Shape) -> Any:
    return generator.integers(0, 2, shape)


CASES = {
    "linear/positive": LayerCase(Linear(out_features=3), ((4,),), batch=1500, positive=True),
    "linear/positive_features": LayerCase(Linear(out_features=3), ((1500,),), positive=True),
    "conv/positive": LayerCase(Conv(out_channels=4, kernel_size=3, padding=1), ((3, 16, 16),), batch=6, positive=True),
    "conv/positive_depthwise": LayerCase(
        Conv(out_channels=4, kernel_size=3, padding=1, groups=4), ((4, 16, 16),), batch=6, positive=True
    ),
    "conv/positive_channels": LayerCase(Conv(out_channels=2, kernel_size=3), ((160, 4, 4),), positive=True),
    "channel_affine/positive": LayerCase(ChannelAffine(), ((4, 16, 16),), batch=6, positive=True),
    "avg_pool/positive": LayerCase(AvgPool(kernel_size=16, stride=4), ((2, 24, 24),), positive=True),
    "global_avg_pool/positive": LayerCase(GlobalAvgPool(), ((2, 40, 40),), positive=True),
    "gather_indices/positive": LayerCase(
        GatherIndices(), ((3, 4), (700,)), draws=(None, _of_two_rows), batched=(False, True), positive=True
    ),
}
