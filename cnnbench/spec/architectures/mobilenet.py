"""MobileNet v1 and v2: depthwise separable convolutions, then inverted residuals."""

from __future__ import annotations

from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, Dropout, GlobalAvgPool, Layer, Linear, ReLU, Shape
from cnnbench.spec.layers.rectifier import ReLU6


class Separable(NamedTuple):
    """Two rows of table 1 of the first paper: a depthwise 3x3 of this stride, then a 1x1 of this width."""

    stride: int
    width: int


V1_TABLE_1 = (
    Separable(1, 64),
    Separable(2, 128),
    Separable(1, 128),
    Separable(2, 256),
    Separable(1, 256),
    Separable(2, 512),
    *(Separable(1, 512),) * 5,
    Separable(2, 1024),
    Separable(1, 1024),  # the table says stride 2, but its sizes need 1
)


class _Bottleneck(NamedTuple):
    """A row of table 2 of the second paper: expansion t, width c, repeats n, stride s of the first."""

    t: int
    c: int
    n: int
    s: int


V2_TABLE_2 = (
    _Bottleneck(1, 16, 1, 1),
    _Bottleneck(6, 24, 2, 2),
    _Bottleneck(6, 32, 3, 2),
    _Bottleneck(6, 64, 4, 2),
    _Bottleneck(6, 96, 3, 1),
    _Bottleneck(6, 160, 3, 2),
    _Bottleneck(6, 320, 1, 1),
)


def build_mobilenet_v1(image: Shape, num_classes: int) -> Graph:
    """MobileNet v1 at width 1: each 3x3 is a depthwise convolution and a 1x1, each with batch norm and ReLU.

    Shapes:
        image (N, C, H, W) -> logits (N, num_classes).
    """
    b = Builder("mobilenet_v1")
    x = _unit(
        b, b.input("image", image), "conv0", Conv(out_channels=32, kernel_size=3, stride=2, padding=1, bias=False)
    )
    for number, row in enumerate(V1_TABLE_1, start=1):
        depthwise = Conv(
            out_channels=x.channels, kernel_size=3, stride=row.stride, padding=1, groups=x.channels, bias=False
        )
        x = _unit(b, x, f"conv{number}.depthwise", depthwise)
        x = _unit(b, x, f"conv{number}.pointwise", Conv(out_channels=row.width, kernel_size=1, bias=False))
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x)})


def _unit(b: Builder, x: Value, name: str, conv: Conv) -> Value:
    with b.scope(name):
        return b.add("relu", ReLU(), b.add("bn", BatchNorm(), b.add("conv", conv, x)))


def build_mobilenet_v2(image: Shape, num_classes: int) -> Graph:
    """MobileNet v2 at width 1, its nodes named as torchvision's.

    Shapes:
        image (N, C, H, W) -> logits (N, num_classes).
    """
    b = Builder("mobilenet_v2")
    x = b.input("image", image)
    with b.scope("features"):
        x = b.stack(
            "0", [Conv(out_channels=32, kernel_size=3, stride=2, padding=1, bias=False), BatchNorm(), ReLU6()], x
        )
        number = 1
        for row in V2_TABLE_2:
            for index in range(row.n):
                with b.scope(str(number)):
                    x = inverted_residual(b, x, row, row.s if index == 0 else 1)
                number += 1
        x = b.stack(str(number), [Conv(out_channels=1280, kernel_size=1, bias=False), BatchNorm(), ReLU6()], x)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.stack("classifier", [Dropout(p=0.2), Linear(out_features=num_classes)], x)})


def inverted_residual(b: Builder, x: Value, row: _Bottleneck, stride: int) -> Value:
    """1x1 to t C maps, depthwise 3x3, a linear 1x1 (table 1). Shapes: (N, C, H, W) -> (N, c, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        row: Of table 2: t, the expansion, and c, the channels of the result.
        stride: s, of the depthwise convolution.
    """
    hidden = x.channels * row.t
    parts: list[list[Layer]] = []
    if row.t != 1:
        parts.append([Conv(out_channels=hidden, kernel_size=1, bias=False), BatchNorm(), ReLU6()])
    depthwise = Conv(out_channels=hidden, kernel_size=3, stride=stride, padding=1, groups=hidden, bias=False)
    parts.append([depthwise, BatchNorm(), ReLU6()])
    y = x
    with b.scope("conv"):
        for number, layers in enumerate(parts):
            y = b.stack(str(number), layers, y)
        y = b.add(str(len(parts)), Conv(out_channels=row.c, kernel_size=1, bias=False), y)
        y = b.add(str(len(parts) + 1), BatchNorm(), y)
    return b.add("add", Add(), x, y) if stride == 1 and x.channels == row.c else y


ARCHITECTURES = (
    Architecture(
        name="mobilenet_v1",
        family="mobilenet",
        year=2017,
        source="arXiv:1704.04861, table 1",
        build=build_mobilenet_v1,
        facts=Facts(parameters=4_231_976, macs=568_740_352, input=(3, 224, 224)),
        num_classes=1000,
    ),
    Architecture(
        name="mobilenet_v2",
        family="mobilenet",
        year=2018,
        source="arXiv:1801.04381, table 2, as torchvision",
        build=build_mobilenet_v2,
        facts=Facts(parameters=3_504_872, macs=300_774_272, input=(3, 224, 224)),
        num_classes=1000,
    ),
)
