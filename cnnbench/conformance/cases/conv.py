"""Convolutions: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, SQUARE, LayerCase
from cnnbench.spec.composites.conv import DepthwiseSeparableConv
from cnnbench.spec.layers import Conv, PartialConv, Shape


def _conv(images: tuple[Shape, ...] = EVEN, batch: int = 2, **fields: object) -> LayerCase:
    layer = Conv(**{"out_channels": 6, "kernel_size": 3, **fields})  # type: ignore[arg-type]
    return LayerCase(layer, images, batch=batch)


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
    "conv/flipped": _conv(kernel_size=(3, 2), stride=(1, 2), padding=((0, 2), (1, 0)), flip_kernel=True),
    "conv/flipped_1d": _conv(((4, 11),), kernel_size=4, stride=3, flip_kernel=True),
    "conv/flipped_3d": _conv(((2, 5, 6, 4),), kernel_size=(2, 3, 1), flip_kernel=True),
    "conv/flipped_depthwise": _conv(out_channels=8, groups=4, padding=1, flip_kernel=True),
    "conv/everything": _conv(kernel_size=(2, 3), stride=(3, 2), dilation=(2, 1), padding=((1, 0), (0, 2)), groups=2),
    "conv/groups_unequal": _conv(((6, 8, 7),), out_channels=9, kernel_size=(3, 2), groups=3),
    "conv/depthwise_dilated_stride": _conv(out_channels=4, groups=4, stride=2, dilation=2, padding=2),
    "conv/depthwise_strides_differ": _conv(out_channels=4, groups=4, stride=(1, 2), padding=((0, 1), (1, 0))),
    "conv/even_kernel_same": _conv(kernel_size=(4, 2), padding="same"),
    "conv/even_kernel_same_lower": _conv(kernel_size=(4, 2), padding="same_lower", stride=(1, 3)),
    "conv/size_one_axes": _conv(((4, 1, 7),), kernel_size=(1, 3), stride=(2, 1), padding=((0, 0), (2, 0))),
    "conv/one_pixel": _conv(((4, 1, 1),), padding=1),
    "conv/one_channel": _conv(((1, 6, 5),), out_channels=1, kernel_size=(2, 3)),
    "conv/kernel_covers_image": _conv(((4, 5, 6),), kernel_size=(5, 6)),
    "conv/padding_beyond_kernel": _conv(kernel_size=2, padding=((3, 0), (0, 4))),
    "conv/stride_beyond_kernel": _conv(kernel_size=2, stride=(3, 4)),
    "conv/stride_beyond_image": _conv(((4, 3, 5),), kernel_size=2, stride=(7, 9)),
    "conv/1d_dilated": _conv(((4, 12),), dilation=3, stride=2, padding=((1, 2),)),
    "conv/1d_grouped": _conv(((4, 12),), groups=2, padding=((0, 1),)),
    "conv/3d_everything": _conv(
        ((2, 5, 7, 6),), kernel_size=(2, 3, 1), stride=(1, 2, 3), padding=((1, 0), (0, 2), (0, 0)), out_channels=3
    ),
    "conv/3d_dilated": _conv(((2, 5, 7, 6),), kernel_size=2, dilation=(2, 1, 3), out_channels=3),
    "conv/3d_grouped": _conv(((4, 3, 4, 5),), kernel_size=2, groups=2),
    "conv/one_image": _conv(batch=1, padding=1),
    "conv/no_images": _conv(batch=0, stride=2, padding=1),
    "conv/no_images_grouped": _conv(batch=0, groups=2),
    "conv/no_images_depthwise": _conv(batch=0, out_channels=4, groups=4, padding=1),
    "depthwise_separable_conv/plain": LayerCase(DepthwiseSeparableConv(out_channels=6, kernel_size=3, padding=1), EVEN),
    "depthwise_separable_conv/multiplier": LayerCase(
        DepthwiseSeparableConv(
            out_channels=5, kernel_size=(2, 3), stride=2, padding="same", dilation=(1, 2), multiplier=3, bias=False
        ),
        EVEN,
    ),
    "depthwise_separable_conv/1d": LayerCase(DepthwiseSeparableConv(out_channels=5, kernel_size=3), ((4, 9),)),
    "partial_conv/table": LayerCase(
        PartialConv(connections=((0,), (0, 2), (1, 2, 3), (0, 1, 2, 3)), kernel_size=3), ((4, 7, 7),)
    ),
}
