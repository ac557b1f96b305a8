"""U-Net (Ronneberger, Fischer, Brox 2015): a contracting path, an expansive path, and their maps side by side."""

from __future__ import annotations

from functools import partial

from cnnbench.errors import SpecError
from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites.indexing import Crop
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Concat, Conv, MaxPool, ReLU, Shape
from cnnbench.spec.layers.conv_transpose import ConvTranspose

# Figure 1: channels of the contracting path; the expansive path takes the first four backwards.
WIDTHS = (64, 128, 256, 512, 1024)
TINY_WIDTHS = (8, 16, 32, 64)


def build_unet(name: str, widths: tuple[int, ...], padding: int, image: Shape, num_classes: int) -> Graph:
    """The network of figure 1. Skipped maps are cropped around their centre to the size of those that they join.

    Args:
        name: Its name.
        widths: Channels of each resolution, the highest first.
        padding: Of the 3x3 convolutions: 0 as the paper (the result is smaller than the image), 1 to keep sizes.
        image: The shape of one image, (C, H, W).
        num_classes: Channels of the result.

    Shapes:
        image (N, C, H, W) -> logits (N, num_classes, H', W'), a class for each pixel: 572 -> 388 without padding.

    Raises:
        SpecError: An image whose sizes the poolings would round down: the paper asks for even sizes at each of them.
    """
    b = Builder(name)
    x = b.input("image", image)
    skipped: list[Value] = []
    for level, width in enumerate(widths):
        if level:
            if any(size % 2 for size in x.shape[2:]):
                raise SpecError(
                    "a 2x2 pooling would drop a row or a column",
                    where=name,
                    received=f"{x.shape[2:]} at level {level} of image {image}",
                    expected="even sizes at every level: 572 or 16 n + 12 without padding, 16 n with it",
                )
            x = b.add(f"pool{level}", MaxPool(kernel_size=2), x)
        x = _double_conv(b, f"down{level}", x, width, padding)
        skipped.append(x)
    for level in reversed(range(len(widths) - 1)):
        with b.scope(f"up{level}"):
            x = b.add("upconv", ConvTranspose(out_channels=widths[level], kernel_size=2, stride=2), x)
            skip = skipped[level]
            if skip.shape != x.shape:
                skip = b.add("crop", Crop(size=tuple(x.shape[2:])), skip)
            x = b.add("concat", Concat(), skip, x)
        x = _double_conv(b, f"up{level}", x, widths[level], padding)
    return b.build({"logits": b.add("head", Conv(out_channels=num_classes, kernel_size=1), x)})


def _double_conv(b: Builder, scope: str, x: Value, width: int, padding: int) -> Value:
    with b.scope(scope):
        for part in ("1", "2"):
            conv = Conv(out_channels=width, kernel_size=3, padding=padding)
            x = b.add(f"relu{part}", ReLU(), b.add(f"conv{part}", conv, x))
    return x


def _architecture(name: str, widths: tuple[int, ...], padding: int, facts: Facts) -> Architecture:
    return Architecture(
        name=name,
        family="unet",
        task="segmentation",
        year=2015,
        source="arXiv:1505.04597, figure 1" + (", its 3x3 convolutions padded" if padding else ""),
        build=partial(build_unet, name, widths, padding),
        facts=facts,
        num_classes=2,
    )


ARCHITECTURES = (
    # Summed from figure 1: sum over the convolutions of 9 C D + D, over the up-convolutions of 4 C D + D, and 64 2 + 2.
    _architecture("unet", WIDTHS, 0, Facts(parameters=31_030_658, macs=150_428_424_448, input=(1, 572, 572))),
    _architecture("unet_padded", WIDTHS, 1, Facts(parameters=31_030_658, macs=48_096_083_968, input=(1, 256, 256))),
    _architecture("unet_tiny", TINY_WIDTHS, 1, Facts(parameters=120_690, macs=9_035_776, input=(1, 32, 32))),
)
