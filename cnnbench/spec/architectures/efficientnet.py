"""EfficientNet (Tan, Le 2019): one searched network, scaled in width, depth and image size together."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites.feature_attention import SqueezeExcitation
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, Dropout, GlobalAvgPool, Layer, Linear, Shape
from cnnbench.spec.layers.regularization import StochasticDepth
from cnnbench.spec.layers.smooth import SiLU


class _Stage(NamedTuple):
    """A row of table 1: an MBConv's expansion, kernel and stride, its width and its number of layers."""

    expansion: int
    kernel_size: int
    stride: int
    width: int
    layers: int


TABLE_1 = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
STEM, HEAD = 32, 1280
LAST_DEPTH = 0.2  # stochastic depth grows from 0 at the first block to this beyond the last


class _Variant(NamedTuple):
    """A registered network: its coefficients, dropout, the epsilon of its norms, and its facts."""

    name: str
    width: float
    depth: float
    image: int
    dropout: float
    eps: float
    parameters: int
    macs: int


# Coefficients: the authors' release (efficientnet_builder.py). Epsilon: torchvision's checkpoints, whose parameters
# these are; MACs are summed from table 1 at each variant's own size and round to torchvision's published 0.386,
# 0.687, 1.827, 4.394, 10.266, 19.068, 37.746 G (it evaluates b2 at 288 and not at 260).
VARIANTS = (
    _Variant("efficientnet_b0", 1.0, 1.0, 224, 0.2, 1e-5, 5_288_548, 385_814_752),
    _Variant("efficientnet_b1", 1.0, 1.1, 240, 0.2, 1e-5, 7_794_184, 686_802_832),
    _Variant("efficientnet_b2", 1.1, 1.2, 260, 0.3, 1e-5, 9_109_994, 993_561_872),
    _Variant("efficientnet_b3", 1.2, 1.4, 300, 0.3, 1e-5, 12_233_232, 1_827_141_392),
    _Variant("efficientnet_b4", 1.4, 1.8, 380, 0.4, 1e-5, 19_341_616, 4_393_771_024),
    _Variant("efficientnet_b5", 1.6, 2.2, 456, 0.4, 1e-3, 30_389_784, 10_266_384_752),
    _Variant("efficientnet_b6", 1.8, 2.6, 528, 0.5, 1e-3, 43_040_704, 19_067_593_536),
    _Variant("efficientnet_b7", 2.0, 3.1, 600, 0.5, 1e-3, 66_347_960, 37_745_884_192),
)


def rounded_width(width: float, coefficient: float) -> int:
    """The scaled width as the nearest multiple of 8 that is at least 0.9 of it (the authors' rounding)."""
    scaled = width * coefficient
    nearest = max(8, int(scaled + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * scaled else nearest


def build_efficientnet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, its nodes named as torchvision's."""
    norm = BatchNorm(eps=variant.eps, momentum=0.1 if variant.eps == 1e-5 else 0.01)
    b = Builder(variant.name)
    x = b.input("image", image)
    counts = [math.ceil(stage.layers * variant.depth) for stage in TABLE_1]
    done = 0
    with b.scope("features"):
        x = b.stack("0", _unit(rounded_width(STEM, variant.width), 3, norm, SiLU(), stride=2), x)
        for number, (stage, count) in enumerate(zip(TABLE_1, counts, strict=True), start=1):
            width = rounded_width(stage.width, variant.width)
            for index in range(count):
                with b.scope(f"{number}.{index}"):
                    block = stage._replace(width=width, stride=stage.stride if index == 0 else 1)
                    x = mobile_block(b, x, block, norm, LAST_DEPTH * done / sum(counts))
                done += 1
        head = rounded_width(TABLE_1[-1].width, variant.width) * HEAD // TABLE_1[-1].width
        x = b.stack(str(len(TABLE_1) + 1), _unit(head, 1, norm, SiLU()), x)
    x = b.add("avgpool", GlobalAvgPool(), x)
    classifier = [Dropout(p=variant.dropout), Linear(out_features=num_classes)]
    return b.build({"logits": b.stack("classifier", classifier, x)})


def mobile_block(b: Builder, x: Value, row: _Stage, norm: BatchNorm, drop: float) -> Value:
    """MBConv: 1x1, depthwise, squeeze-and-excitation of a quarter of the input's channels, linear 1x1, shortcut.

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        row: Of the table, with the scaled width and the stride of this block.
        norm: After each convolution.
        drop: The probability with which the block is dropped in training.
    """
    hidden = x.channels * row.expansion
    parts: list[list[Layer]] = []
    if row.expansion != 1:
        parts.append(_unit(hidden, 1, norm, SiLU()))
    parts.append(_unit(hidden, row.kernel_size, norm, SiLU(), stride=row.stride, groups=hidden))
    y = x
    with b.scope("block"):
        for number, layers in enumerate(parts):
            y = b.stack(str(number), layers, y)
        squeeze = SqueezeExcitation(squeeze_channels=max(1, x.channels // 4), activation="silu")
        y = b.add(str(len(parts)), squeeze, y)
        y = b.stack(str(len(parts) + 1), _unit(row.width, 1, norm, None), y)
    if row.stride != 1 or x.channels != row.width:
        return y
    if drop:
        y = b.add("stochastic_depth", StochasticDepth(p=drop), y)
    return b.add("add", Add(), x, y)


def _unit(
    width: int, kernel_size: int, norm: BatchNorm, activation: Layer | None, *, stride: int = 1, groups: int = 1
) -> list[Layer]:
    conv = Conv(
        out_channels=width,
        kernel_size=kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
    )
    return [conv, norm, *([] if activation is None else [activation])]


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="efficientnet",
        year=2019,
        source="arXiv:1905.11946, table 1, scaled as the authors' release, as torchvision",
        build=partial(build_efficientnet, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, variant.image, variant.image)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
