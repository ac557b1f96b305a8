"""Convolutions: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, SQUARE, LayerCase
from cnnbench.spec.layers import Conv, PartialConv, Shape


def _conv(images: tuple[Shape, ...] = EVEN, **fields: object) -> LayerCase:
    return LayerCase(Conv(**{"out_channels": 6, "kernel_size": 3, **fields}), images)  # type: ignore[arg-type]


CASES = {
    "conv/plain": _conv(padding=1),
    "conv/1d": _conv(((4, 11),), stride=2, padding=1),
    "conv/3d": _conv(((2, 5, 6, 4),), padding=1),
    "conv/pointwise": _conv(kernel_size=1, bias=False),
    "conv/stride_even": _conv(stride=2, padding="same"),
    "conv/stride_odd": _conv(SQUARE, stride=2, padding="same"),
    "conv/same_lower": _conv(stride=2, padding="same_lower"),
    "conv/asymmetric": _conv(padding=((0, 2), (1, 0))),
    "conv/strides_differ": _conv(stride=(2, 3), padding=1),
    "conv/dilated": _conv(dilation=2, padding=2),
    "conv/dilations_differ": _conv(dilation=(1, 2)),
    "conv/kernel_differs": _conv(kernel_size=(3, 5), padding=(1, 2)),
    "conv/grouped": _conv(groups=2, padding=1),
    "conv/depthwise": _conv(out_channels=4, groups=4, padding=1),
    "conv/depth_multiplier": _conv(out_channels=8, groups=4, stride=2, padding=1),
    "conv/large_kernel": _conv(((3, 16, 16),), kernel_size=7, stride=2, padding=3),
    "conv/many_channels": _conv(((64, 6, 6),), out_channels=16, padding=1),
    "partial_conv/table": LayerCase(
        PartialConv(connections=((0,), (0, 2), (1, 2, 3), (0, 1, 2, 3)), kernel_size=3), ((4, 7, 7),)
    ),
}
