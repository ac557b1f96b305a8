"""ResNet for ImageNet (He et al. 2015): 18 to 152 layers, stride in the 3x3 (v1.5) or in the first 1x1 (v1)."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool, ReLU, Shape

StridePlace = Literal["3x3", "first 1x1"]


class _Stage(NamedTuple):
    """A row of table 1: a stage, its output size at 224, its width, and its number of blocks in each network."""

    name: str
    output_size: int
    width: int
    layers_18: int
    layers_34: int
    layers_50: int
    layers_101: int
    layers_152: int


TABLE_1 = (
    _Stage("conv2_x", 56, 64, 2, 3, 3, 3, 3),
    _Stage("conv3_x", 28, 128, 2, 4, 4, 4, 8),
    _Stage("conv4_x", 14, 256, 2, 6, 6, 23, 36),
    _Stage("conv5_x", 7, 512, 2, 3, 3, 3, 3),
)

BOTTLENECK_EXPANSION = 4  # a bottleneck's last 1x1 has four times the width of its 3x3 (table 1)


class _Variant(NamedTuple):
    """A registered network and what its sources say of it at 224 with 1,000 classes."""

    name: str
    depth: int
    stride_place: StridePlace
    parameters: int
    buffers: int
    macs: int

    @property
    def bottleneck(self) -> bool:
        """Whether its blocks are 1x1, 3x3, 1x1 (from 50 layers on) or two 3x3."""
        return self.depth >= 50


# Parameters: torchvision's published checkpoints (num_params of ResNet*_Weights.IMAGENET1K_V1). MACs: summed from
# table 1; they round to torchvision's published 1.814, 3.664, 4.089, 7.801, 11.514 G and, with the paper's own
# stride, to the last row of table 1 (3.8, 7.6, 11.3 G).
VARIANTS = (
    _Variant("resnet18", 18, "3x3", 11_689_512, 9_600, 1_814_073_344),
    _Variant("resnet34", 34, "3x3", 21_797_672, 17_024, 3_663_761_408),
    _Variant("resnet50", 50, "3x3", 25_557_032, 53_120, 4_089_184_256),
    _Variant("resnet101", 101, "3x3", 44_549_160, 105_344, 7_801_405_440),
    _Variant("resnet152", 152, "3x3", 60_192_808, 151_424, 11_513_626_624),
    _Variant("resnet50_v1", 50, "first 1x1", 25_557_032, 53_120, 3_857_973_248),
    _Variant("resnet101_v1", 101, "first 1x1", 44_549_160, 105_344, 7_570_194_432),
    _Variant("resnet152_v1", 152, "first 1x1", 60_192_808, 151_424, 11_282_415_616),
)


def build_resnet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``; its nodes have torchvision's names, so that its checkpoints load by name."""
    b = Builder(variant.name)
    x = b.input("image", image)
    x = b.add("conv1", Conv(out_channels=64, kernel_size=7, stride=2, padding=3, bias=False), x)
    x = b.add("bn1", BatchNorm(), x)
    x = b.add("relu", ReLU(), x)
    x = b.add("maxpool", MaxPool(kernel_size=3, stride=2, padding=1), x)
    for number, stage in enumerate(TABLE_1, start=1):
        for index in range(getattr(stage, f"layers_{variant.depth}")):
            stride = 2 if index == 0 and number > 1 else 1
            with b.scope(f"layer{number}.{index}"):
                if variant.bottleneck:
                    x = bottleneck_block(b, x, stage.width, stride, variant.stride_place)
                else:
                    x = basic_block(b, x, stage.width, stride)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x)})


def basic_block(b: Builder, x: Value, width: int, stride: int) -> Value:
    """Two 3x3 convolutions beside a shortcut (figure 5, left). Shapes: (N, C, H, W) -> (N, width, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        width: Channels of both convolutions.
        stride: s, of the first.
    """
    y = _conv_norm(b, x, "1", width, 3, stride)
    y = b.add("relu1", ReLU(), y)
    y = _conv_norm(b, y, "2", width, 3, 1)
    y = b.add("add", Add(), y, projection_shortcut(b, x, width, stride))
    return b.add("relu2", ReLU(), y)


def bottleneck_block(b: Builder, x: Value, width: int, stride: int, stride_place: StridePlace) -> Value:
    """1x1, 3x3, 1x1 beside a shortcut (figure 5, right). Shapes: (N, C, H, W) -> (N, 4 width, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        width: Channels of the 3x3, a quarter of the result.
        stride: s, of the block.
        stride_place: Which convolution has the stride.
    """
    first, second = (1, stride) if stride_place == "3x3" else (stride, 1)
    y = _conv_norm(b, x, "1", width, 1, first)
    y = b.add("relu1", ReLU(), y)
    y = _conv_norm(b, y, "2", width, 3, second)
    y = b.add("relu2", ReLU(), y)
    y = _conv_norm(b, y, "3", width * BOTTLENECK_EXPANSION, 1, 1)
    y = b.add("add", Add(), y, projection_shortcut(b, x, width * BOTTLENECK_EXPANSION, stride))
    return b.add("relu3", ReLU(), y)


def projection_shortcut(b: Builder, x: Value, channels: int, stride: int) -> Value:
    """Option B: the identity, or a 1x1 convolution and batch norm where the shape changes (section 3.3).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        channels: Of the result.
        stride: Of the block, along each axis.
    """
    if stride == 1 and x.channels == channels:
        return x
    with b.scope("downsample"):
        x = b.add("0", Conv(out_channels=channels, kernel_size=1, stride=stride, bias=False), x)
        return b.add("1", BatchNorm(), x)


def _conv_norm(b: Builder, x: Value, number: str, channels: int, kernel_size: int, stride: int) -> Value:
    padding = kernel_size // 2
    conv = Conv(out_channels=channels, kernel_size=kernel_size, stride=stride, padding=padding, bias=False)
    return b.add(f"bn{number}", BatchNorm(), b.add(f"conv{number}", conv, x))


_SOURCES: dict[StridePlace, str] = {
    "3x3": "arXiv:1512.03385, table 1, with the stride in the 3x3 as torchvision (v1.5)",
    "first 1x1": "arXiv:1512.03385, table 1, with the stride in the first 1x1 as the paper (v1)",
}

ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="resnet",
        year=2015,
        source=_SOURCES[variant.stride_place],
        build=partial(build_resnet, variant),
        facts=Facts(parameters=variant.parameters, buffers=variant.buffers, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
