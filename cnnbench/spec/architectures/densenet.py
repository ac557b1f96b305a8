"""DenseNet (Huang et al. 2016): each layer reads all that the layers of its block before it made."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import AvgPool, BatchNorm, Concat, Conv, GlobalAvgPool, Linear, MaxPool, ReLU, Shape

BOTTLENECK = 4  # a layer's 1x1 makes 4 k maps (section 3, "bottleneck layers")
COMPRESSION = 2  # a transition halves the maps (theta = 0.5)


class _Variant(NamedTuple):
    """A column of table 1 and what the sources say of it."""

    name: str
    growth_rate: int
    layers: tuple[int, int, int, int]
    channels: int
    parameters: int
    macs: int


# Parameters: torchvision's published checkpoints. MACs: summed from table 1; they round to torchvision's published
# 2.834, 7.728, 3.36, 4.291 G.
VARIANTS = (
    _Variant("densenet121", 32, (6, 12, 24, 16), 64, 7_978_856, 2_834_161_664),
    _Variant("densenet161", 48, (6, 12, 36, 24), 96, 28_681_000, 7_727_907_072),
    _Variant("densenet169", 32, (6, 12, 32, 32), 64, 14_149_480, 3_359_843_328),
    _Variant("densenet201", 32, (6, 12, 48, 32), 64, 20_013_928, 4_291_365_888),
)


def build_densenet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, its nodes named as torchvision's."""
    b = Builder(variant.name)
    x = b.input("image", image)
    with b.scope("features"):
        x = b.add("conv0", Conv(out_channels=variant.channels, kernel_size=7, stride=2, padding=3, bias=False), x)
        x = b.add("relu0", ReLU(), b.add("norm0", BatchNorm(), x))
        x = b.add("pool0", MaxPool(kernel_size=3, stride=2, padding=1), x)
        for block, count in enumerate(variant.layers, start=1):
            with b.scope(f"denseblock{block}"):
                for layer in range(1, count + 1):
                    x = dense_layer(b, x, layer, variant.growth_rate)
            if block < len(variant.layers):
                x = transition(b, x, block)
        x = b.add("norm5", BatchNorm(), x)
        x = b.add("relu5", ReLU(), x)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("classifier", Linear(out_features=num_classes), x)})


def dense_layer(b: Builder, x: Value, number: int, growth_rate: int) -> Value:
    """Norm, ReLU, 1x1, norm, ReLU, 3x3; its k maps join what came in. Shapes: (N, C, H, W) -> (N, C + k, H, W).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        number: Of the layer within its block, from 1.
        growth_rate: k.
    """
    with b.scope(f"denselayer{number}"):
        y = b.add("relu1", ReLU(), b.add("norm1", BatchNorm(), x))
        y = b.add("conv1", Conv(out_channels=BOTTLENECK * growth_rate, kernel_size=1, bias=False), y)
        y = b.add("relu2", ReLU(), b.add("norm2", BatchNorm(), y))
        y = b.add("conv2", Conv(out_channels=growth_rate, kernel_size=3, padding=1, bias=False), y)
        return b.add("concat", Concat(), x, y)


def transition(b: Builder, x: Value, number: int) -> Value:
    """Norm, ReLU, 1x1, average pooling (table 1). Shapes: (N, C, H, W) -> (N, C/2, H/2, W/2).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        number: Of the block before it, from 1.
    """
    with b.scope(f"transition{number}"):
        y = b.add("relu", ReLU(), b.add("norm", BatchNorm(), x))
        y = b.add("conv", Conv(out_channels=x.channels // COMPRESSION, kernel_size=1, bias=False), y)
        return b.add("pool", AvgPool(kernel_size=2), y)


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="densenet",
        year=2016,
        source="arXiv:1608.06993, table 1",
        build=partial(build_densenet, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
