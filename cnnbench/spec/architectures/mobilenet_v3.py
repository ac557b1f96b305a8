"""MobileNet v3 (Howard et al. 2019): searched inverted residuals with squeeze-and-excitation and hard-swish."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites.feature_attention import SqueezeExcitation
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, Dropout, GlobalAvgPool, Layer, Linear, ReLU, Shape
from cnnbench.spec.layers.rectifier import HardSwish


class _Bottleneck(NamedTuple):
    """A row of tables 1 and 2: kernel, expansion size, width, squeeze-and-excitation, ReLU or hard-swish, stride."""

    kernel_size: int
    expansion: int
    width: int
    squeeze: bool
    activation: Literal["RE", "HS"]
    stride: int


TABLE_1_LARGE = (
    _Bottleneck(3, 16, 16, False, "RE", 1),
    _Bottleneck(3, 64, 24, False, "RE", 2),
    _Bottleneck(3, 72, 24, False, "RE", 1),
    _Bottleneck(5, 72, 40, True, "RE", 2),
    _Bottleneck(5, 120, 40, True, "RE", 1),
    _Bottleneck(5, 120, 40, True, "RE", 1),
    _Bottleneck(3, 240, 80, False, "HS", 2),
    _Bottleneck(3, 200, 80, False, "HS", 1),
    _Bottleneck(3, 184, 80, False, "HS", 1),
    _Bottleneck(3, 184, 80, False, "HS", 1),
    _Bottleneck(3, 480, 112, True, "HS", 1),
    _Bottleneck(3, 672, 112, True, "HS", 1),
    _Bottleneck(5, 672, 160, True, "HS", 2),
    _Bottleneck(5, 960, 160, True, "HS", 1),
    _Bottleneck(5, 960, 160, True, "HS", 1),
)
TABLE_2_SMALL = (
    _Bottleneck(3, 16, 16, True, "RE", 2),
    _Bottleneck(3, 72, 24, False, "RE", 2),
    _Bottleneck(3, 88, 24, False, "RE", 1),
    _Bottleneck(5, 96, 40, True, "HS", 2),
    _Bottleneck(5, 240, 40, True, "HS", 1),
    _Bottleneck(5, 240, 40, True, "HS", 1),
    _Bottleneck(5, 120, 48, True, "HS", 1),
    _Bottleneck(5, 144, 48, True, "HS", 1),
    _Bottleneck(5, 288, 96, True, "HS", 2),
    _Bottleneck(5, 576, 96, True, "HS", 1),
    _Bottleneck(5, 576, 96, True, "HS", 1),
)


class _Variant(NamedTuple):
    """A registered network: its rows, the widths of its last convolution and linear layer, and its facts."""

    name: str
    table: str
    rows: tuple[_Bottleneck, ...]
    last_convolution: int
    last_linear: int
    parameters: int
    macs: int


# Parameters and MACs: torchvision's published checkpoints (0.217, 0.057 GMACs).
VARIANTS = (
    _Variant("mobilenet_v3_large", "table 1", TABLE_1_LARGE, 960, 1280, 5_483_032, 216_589_760),
    _Variant("mobilenet_v3_small", "table 2", TABLE_2_SMALL, 576, 1024, 2_542_856, 56_510_400),
)

_NORM = BatchNorm(eps=1e-3, momentum=0.01)


def build_mobilenet_v3(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, its nodes named as torchvision's."""
    b = Builder(variant.name)
    x = b.input("image", image)
    with b.scope("features"):
        x = b.stack("0", _unit(16, 3, HardSwish(), stride=2), x)
        for number, row in enumerate(variant.rows, start=1):
            with b.scope(str(number)):
                x = inverted_residual(b, x, row)
        x = b.stack(str(len(variant.rows) + 1), _unit(variant.last_convolution, 1, HardSwish()), x)
    x = b.add("avgpool", GlobalAvgPool(), x)
    classifier = [
        Linear(out_features=variant.last_linear),
        HardSwish(),
        Dropout(p=0.2),
        Linear(out_features=num_classes),
    ]
    return b.build({"logits": b.stack("classifier", classifier, x)})


def inverted_residual(b: Builder, x: Value, row: _Bottleneck) -> Value:
    """1x1, depthwise, squeeze-and-excitation, linear 1x1 (figure 4). Shapes: (N, C, H, W) -> (N, width, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        row: Of the table: kernel, expansion, width, activation and stride s.
    """
    activation = ReLU() if row.activation == "RE" else HardSwish()
    expansion = row.expansion
    parts: list[list[Layer]] = []
    if expansion != x.channels:
        parts.append(_unit(expansion, 1, activation))
    parts.append(_unit(expansion, row.kernel_size, activation, stride=row.stride, groups=expansion))
    y = x
    with b.scope("block"):
        for number, layers in enumerate(parts):
            y = b.stack(str(number), layers, y)
        number = len(parts)
        if row.squeeze:
            squeeze = SqueezeExcitation(squeeze_channels=divisible(expansion / 4), gate="hard_sigmoid")
            y = b.add(str(number), squeeze, y)
            number += 1
        y = b.stack(str(number), _unit(row.width, 1, None), y)
    return b.add("add", Add(), x, y) if row.stride == 1 and x.channels == row.width else y


def divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, at least 0.9 of it (the authors' rounding)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _unit(width: int, kernel_size: int, activation: Layer | None, *, stride: int = 1, groups: int = 1) -> list[Layer]:
    conv = Conv(
        out_channels=width,
        kernel_size=kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
    )
    return [conv, _NORM, *([] if activation is None else [activation])]


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="mobilenet",
        year=2019,
        source=f"arXiv:1905.02244, {variant.table}, as torchvision",
        build=partial(build_mobilenet_v3, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
