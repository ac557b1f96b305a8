"""BN-Inception (Ioffe, Szegedy 2015): inception modules of 3x3 convolutions only, each with batch norm."""

from __future__ import annotations

from typing import Literal, NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import AvgPool, BatchNorm, Concat, Conv, GlobalAvgPool, Layer, Linear, MaxPool, ReLU, Shape


class _Inception(NamedTuple):
    """A row of figure 5: the widths of a module's branches; a module of stride 2 has no 1x1 and passes its pool on."""

    name: str
    num_1x1: int
    num_3x3_reduce: int
    num_3x3: int
    num_double_3x3_reduce: int
    num_double_3x3: int
    pool: Literal["avg", "max", "max, stride 2"]
    pool_proj: int


# As in the released model, which has projections of 128 in modules 4c and 4d where figure 5 of the paper has 96.
FIGURE_5 = (
    _Inception("3a", 64, 64, 64, 64, 96, "avg", 32),
    _Inception("3b", 64, 64, 96, 64, 96, "avg", 64),
    _Inception("3c", 0, 128, 160, 64, 96, "max, stride 2", 0),
    _Inception("4a", 224, 64, 96, 96, 128, "avg", 128),
    _Inception("4b", 192, 96, 128, 96, 128, "avg", 128),
    _Inception("4c", 160, 128, 160, 128, 160, "avg", 128),
    _Inception("4d", 96, 128, 192, 160, 192, "avg", 128),
    _Inception("4e", 0, 128, 192, 192, 256, "max, stride 2", 0),
    _Inception("5a", 352, 192, 320, 160, 224, "avg", 128),
    _Inception("5b", 352, 192, 320, 192, 224, "max", 128),
)


def build_bn_inception(image: Shape, num_classes: int) -> Graph:
    """BN-Inception without auxiliary classifiers; nodes are named as in the released Caffe model.

    Shapes:
        image (N, C, H, W) -> logits (N, num_classes).
    """
    b = Builder("bn_inception")
    x = b.input("image", image)
    x = _conv(b, x, "conv1_7x7_s2", 64, 7, stride=2)
    x = b.add("pool1_3x3_s2", MaxPool(kernel_size=3, stride=2, ceil_mode=True), x)
    x = _conv(b, x, "conv2_3x3_reduce", 64, 1)
    x = _conv(b, x, "conv2_3x3", 192, 3)
    x = b.add("pool2_3x3_s2", MaxPool(kernel_size=3, stride=2, ceil_mode=True), x)
    for row in FIGURE_5:
        x = inception(b, x, row)
    x = b.add("global_pool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x)})


def inception(b: Builder, x: Value, row: _Inception) -> Value:
    """1x1, 3x3, two 3x3 and a pooled branch side by side. Shapes: (N, C, H, W) -> (N, sum of widths, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        row: Of the table: the widths of the branches.
    """
    stem = f"inception_{row.name}"
    stride = 2 if row.pool == "max, stride 2" else 1
    three = _conv(b, x, f"{stem}_3x3_reduce", row.num_3x3_reduce, 1)
    three = _conv(b, three, f"{stem}_3x3", row.num_3x3, 3, stride=stride)
    double = _conv(b, x, f"{stem}_double_3x3_reduce", row.num_double_3x3_reduce, 1)
    double = _conv(b, double, f"{stem}_double_3x3_1", row.num_double_3x3, 3)
    double = _conv(b, double, f"{stem}_double_3x3_2", row.num_double_3x3, 3, stride=stride)
    pooled = b.add(f"{stem}_pool", _pool(row), x)
    if not row.num_1x1:
        return b.add(f"{stem}_output", Concat(), three, double, pooled)
    one = _conv(b, x, f"{stem}_1x1", row.num_1x1, 1)
    pooled = _conv(b, pooled, f"{stem}_pool_proj", row.pool_proj, 1)
    return b.add(f"{stem}_output", Concat(), one, three, double, pooled)


def _pool(row: _Inception) -> Layer:
    if row.pool == "avg":
        return AvgPool(kernel_size=3, stride=1, padding=1)
    if row.pool == "max":
        return MaxPool(kernel_size=3, stride=1, padding=1)
    return MaxPool(kernel_size=3, stride=2, ceil_mode=True)


def _conv(b: Builder, x: Value, name: str, channels: int, kernel_size: int, *, stride: int = 1) -> Value:
    padding = kernel_size // 2
    conv = Conv(out_channels=channels, kernel_size=kernel_size, stride=stride, padding=padding, bias=False)
    return b.add(f"{name}_relu", ReLU(), b.add(f"{name}_bn", BatchNorm(), b.add(name, conv, x)))


ARCHITECTURES = (
    Architecture(
        name="bn_inception",
        family="bn_inception",
        year=2015,
        source="arXiv:1502.03167, figure 5, with the widths of the released Caffe model",
        build=build_bn_inception,
        facts=Facts(parameters=11_285_224, macs=2_032_600_064, input=(3, 224, 224)),
        num_classes=1000,
    ),
)
