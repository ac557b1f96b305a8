"""SE-ResNet (Hu et al. 2017): bottleneck ResNets whose branches are gated by squeeze-and-excitation."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.architectures.resnet import BOTTLENECK_EXPANSION, TABLE_1, projection_shortcut
from cnnbench.spec.composites.feature_attention import SqueezeExcitation
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool, ReLU, Shape

REDUCTION = 16  # section 6.1


class _Variant(NamedTuple):
    """A registered network and its counts at 224 with 1,000 classes: those of the ResNet and of its gates."""

    name: str
    depth: int
    parameters: int
    macs: int


# A gate on C channels has 2 C^2/16 weights, each used once an image, and C + C/16 biases.
VARIANTS = (
    _Variant("se_resnet50", 50, 28_088_024, 3_860_488_192),
    _Variant("se_resnet101", 101, 49_326_872, 7_574_937_600),
    _Variant("se_resnet152", 152, 66_821_848, 11_288_993_792),
)


def build_se_resnet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant`` with the stride in the first 1x1, as the authors' release."""
    b = Builder(variant.name)
    x = b.input("image", image)
    x = b.add("conv1", Conv(out_channels=64, kernel_size=7, stride=2, padding=3, bias=False), x)
    x = b.add("relu1", ReLU(), b.add("bn1", BatchNorm(), x))
    x = b.add("maxpool", MaxPool(kernel_size=3, stride=2, ceil_mode=True), x)
    for number, stage in enumerate(TABLE_1, start=1):
        for index in range(getattr(stage, f"layers_{variant.depth}")):
            with b.scope(f"layer{number}.{index}"):
                x = se_bottleneck(b, x, stage.width, 2 if index == 0 and number > 1 else 1)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x)})


def se_bottleneck(b: Builder, x: Value, width: int, stride: int) -> Value:
    """1x1, 3x3, 1x1, gate, shortcut (figure 3). Shapes: (N, C, H, W) -> (N, 4 width, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        width: Channels of the 3x3, a quarter of the result.
        stride: s, of the first 1x1.
    """
    channels = width * BOTTLENECK_EXPANSION
    y = b.add("conv1", Conv(out_channels=width, kernel_size=1, stride=stride, bias=False), x)
    y = b.add("relu1", ReLU(), b.add("bn1", BatchNorm(), y))
    y = b.add("conv2", Conv(out_channels=width, kernel_size=3, padding=1, bias=False), y)
    y = b.add("relu2", ReLU(), b.add("bn2", BatchNorm(), y))
    y = b.add("bn3", BatchNorm(), b.add("conv3", Conv(out_channels=channels, kernel_size=1, bias=False), y))
    y = b.add("se_module", SqueezeExcitation(squeeze_channels=channels // REDUCTION), y)
    y = b.add("add", Add(), y, projection_shortcut(b, x, channels, stride))
    return b.add("relu3", ReLU(), y)


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="senet",
        year=2017,
        source="arXiv:1709.01507, table 1, with the stride in the first 1x1 as the authors' release",
        build=partial(build_se_resnet, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
