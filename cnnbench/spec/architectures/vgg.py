"""VGG (Simonyan, Zisserman 2014): stacks of 3x3 convolutions, with and without batch norm."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import AdaptiveAvgPool, BatchNorm, Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU, Shape

# Section 2.1: widths of the five stages, each of which a 2x2 max pooling ends.
WIDTHS = (64, 128, 256, 512, 512)


class _Variant(NamedTuple):
    """A column of table 1: how many 3x3 convolutions each stage has, and what the sources say of it."""

    name: str
    column: str
    convolutions: tuple[int, int, int, int, int]
    batch_norm: bool
    parameters: int
    macs: int


# Parameters: torchvision's published checkpoints; table 2 of the paper rounds them to 133, 133, 138, 144 million.
# MACs: summed from table 1; they round to torchvision's published 7.609, 11.308, 15.47, 19.632 G.
VARIANTS = (
    _Variant("vgg11", "A", (1, 1, 2, 2, 2), False, 132_863_336, 7_609_090_048),
    _Variant("vgg13", "B", (2, 2, 2, 2, 2), False, 133_047_848, 11_308_466_176),
    _Variant("vgg16", "D", (2, 2, 3, 3, 3), False, 138_357_544, 15_470_264_320),
    _Variant("vgg19", "E", (2, 2, 4, 4, 4), False, 143_667_240, 19_632_062_464),
    _Variant("vgg11_bn", "A", (1, 1, 2, 2, 2), True, 132_868_840, 7_609_090_048),
    _Variant("vgg13_bn", "B", (2, 2, 2, 2, 2), True, 133_053_736, 11_308_466_176),
    _Variant("vgg16_bn", "D", (2, 2, 3, 3, 3), True, 138_365_992, 15_470_264_320),
    _Variant("vgg19_bn", "E", (2, 2, 4, 4, 4), True, 143_678_248, 19_632_062_464),
)


def build_vgg(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, its nodes named as torchvision's: ``features.<n>``, ``classifier.<n>``.

    An image of another size than 224 is averaged to 7x7 before the classifier, as torchvision does.
    """
    b = Builder(variant.name)
    x = b.stack("features", _features(variant), b.input("image", image))
    x = b.add("avgpool", AdaptiveAvgPool(output_size=7), x)
    x = b.add("flatten", Flatten(), x)
    classifier = [
        Linear(out_features=4096),
        ReLU(),
        Dropout(p=0.5),
        Linear(out_features=4096),
        ReLU(),
        Dropout(p=0.5),
        Linear(out_features=num_classes),
    ]
    return b.build({"logits": b.stack("classifier", classifier, x)})


def _features(variant: _Variant) -> list[Layer]:
    layers: list[Layer] = []
    for width, count in zip(WIDTHS, variant.convolutions, strict=True):
        for _ in range(count):
            layers.append(Conv(out_channels=width, kernel_size=3, padding=1))
            layers += [BatchNorm(), ReLU()] if variant.batch_norm else [ReLU()]
        layers.append(MaxPool(kernel_size=2))
    return layers


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="vgg",
        year=2014,
        source=f"arXiv:1409.1556, table 1, column {variant.column}"
        + (", with batch norm as torchvision" if variant.batch_norm else ""),
        build=partial(build_vgg, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
