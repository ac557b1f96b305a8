"""Transposed convolutions: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.conv_transpose import ConvTranspose

SMALL: tuple[Shape, ...] = ((4, 5, 6),)


def _case(images: tuple[Shape, ...] = SMALL, batch: int = 2, **fields: object) -> LayerCase:
    layer = ConvTranspose(**{"out_channels": 6, "kernel_size": 3, **fields})  # type: ignore[arg-type]
    return LayerCase(layer, images, batch=batch)


CASES = {
    "conv_transpose/plain": _case(),
    "conv_transpose/upsampling": _case(kernel_size=4, stride=2, padding=1),
    "conv_transpose/no_overlap": _case(kernel_size=2, stride=2, bias=False),
    "conv_transpose/1d": _case(((4, 7),), stride=2, padding=((0, 1),)),
    "conv_transpose/3d": _case(((2, 3, 4, 3),), out_channels=3, stride=(2, 1, 2), padding=1),
    "conv_transpose/3d_dilated": _case(((2, 3, 4, 3),), out_channels=3, kernel_size=2, dilation=(1, 2, 3)),
    "conv_transpose/3d_grouped": _case(((2, 3, 4, 3),), out_channels=4, kernel_size=(2, 1, 3), groups=2, stride=2),
    "conv_transpose/strides_differ": _case(stride=(2, 3), kernel_size=(3, 4)),
    "conv_transpose/begin_cropped": _case(stride=2, padding=((2, 0), (1, 0))),
    "conv_transpose/end_cropped": _case(stride=2, padding=((0, 2), (0, 1))),
    "conv_transpose/output_padding": _case(stride=(2, 3), padding=1, output_padding=(1, 2)),
    "conv_transpose/output_padding_beyond": _case(stride=2, output_padding=(3, 1)),
    "conv_transpose/stride_beyond_kernel": _case(kernel_size=2, stride=(3, 4), output_padding=(0, 3)),
    "conv_transpose/dilated": _case(dilation=(1, 2), kernel_size=(2, 3), stride=2, padding=((0, 1), (1, 2))),
    "conv_transpose/same": _case(stride=(2, 1), kernel_size=3, padding="same"),
    "conv_transpose/same_lower": _case(stride=(2, 1), kernel_size=(3, 4), padding="same_lower"),
    "conv_transpose/same_small_kernel": _case(stride=3, kernel_size=2, padding="same"),
    "conv_transpose/same_dilated": _case(stride=2, kernel_size=2, dilation=(2, 3), padding="same"),
    "conv_transpose/groups_unequal": _case(out_channels=6, groups=2, stride=2, padding=1),
    "conv_transpose/depthwise": _case(out_channels=4, groups=4, stride=2, padding=((0, 1), (1, 0))),
    "conv_transpose/depth_multiplier": _case(out_channels=8, groups=4, stride=(1, 2), kernel_size=(2, 3)),
    "conv_transpose/pointwise": _case(kernel_size=1, stride=2),
    "conv_transpose/kernel_differs": _case(kernel_size=(2, 5), padding=((0, 0), (1, 3))),
    "conv_transpose/size_one": _case(((4, 1, 6),), kernel_size=(1, 3), stride=(2, 3), padding=((0, 0), (0, 2))),
    "conv_transpose/one_pixel": _case(((4, 1, 1),), kernel_size=4, bias=False),
    "conv_transpose/one_image": _case(EVEN, batch=1, stride=2, padding="same"),
    "conv_transpose/no_images": _case(batch=0, stride=2, padding=1),
    "conv_transpose/many_channels": _case(((48, 4, 5),), out_channels=8, stride=2, padding=1),
}
