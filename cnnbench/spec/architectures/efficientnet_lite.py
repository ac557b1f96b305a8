"""EfficientNet-Lite0 (2020): B0 for edge devices, without squeeze-and-excitation and with ReLU6."""

from __future__ import annotations

from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, Dropout, GlobalAvgPool, Layer, Linear, Shape
from cnnbench.spec.layers.rectifier import ReLU6
from cnnbench.spec.layers.regularization import StochasticDepth


class _Stage(NamedTuple):
    """A row of B0's table 1: an MBConv's expansion, kernel and stride, its width and its number of layers."""

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
LAST_DEPTH = 0.2  # stochastic depth grows from 0 at the first block to this beyond the last


def build_efficientnet_lite0(image: Shape, num_classes: int) -> Graph:
    """EfficientNet-Lite0; its convolutions pad as TensorFlow's SAME, since it was trained there.

    Shapes:
        image (N, C, H, W) -> logits (N, num_classes).
    """
    b = Builder("efficientnet_lite0")
    x = b.stack("stem", _unit(32, 3, ReLU6(), stride=2), b.input("image", image))
    number, total = 0, sum(stage.layers for stage in TABLE_1)
    for stage in TABLE_1:
        for index in range(stage.layers):
            with b.scope(f"blocks.{number}"):
                stride = stage.stride if index == 0 else 1
                x = mobile_block(b, x, stage, stride, LAST_DEPTH * number / total)
            number += 1
    x = b.stack("head", _unit(1280, 1, ReLU6()), x)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.stack("classifier", [Dropout(p=0.2), Linear(out_features=num_classes)], x)})


def mobile_block(b: Builder, x: Value, stage: _Stage, stride: int, drop: float) -> Value:
    """1x1, depthwise, linear 1x1, shortcut. Shapes: (N, C, H, W) -> (N, width, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        stage: A row of the table.
        stride: s, of the depthwise convolution.
        drop: The probability with which the block is dropped in training.
    """
    hidden = x.channels * stage.expansion
    y = x
    if stage.expansion != 1:
        y = b.stack("expand", _unit(hidden, 1, ReLU6()), y)
    y = b.stack("depthwise", _unit(hidden, stage.kernel_size, ReLU6(), stride=stride, groups=hidden), y)
    y = b.stack("project", _unit(stage.width, 1, None), y)
    if stride != 1 or x.channels != stage.width:
        return y
    if drop:
        y = b.add("stochastic_depth", StochasticDepth(p=drop), y)
    return b.add("add", Add(), x, y)


def _unit(width: int, kernel_size: int, activation: Layer | None, *, stride: int = 1, groups: int = 1) -> list[Layer]:
    conv = Conv(out_channels=width, kernel_size=kernel_size, stride=stride, padding="same", groups=groups, bias=False)
    norm = BatchNorm(eps=1e-3, momentum=0.01)
    return [conv, norm, *([] if activation is None else [activation])]


ARCHITECTURES = (
    Architecture(
        name="efficientnet_lite0",
        family="efficientnet",
        year=2020,
        source="github.com/tensorflow/tpu, models/official/efficientnet/lite: 4.7 M parameters",
        build=build_efficientnet_lite0,
        # MACs: B0's 385,814,752 without the 627,200 of its squeeze-and-excitations.
        facts=Facts(parameters=4_652_008, macs=385_187_552, input=(3, 224, 224)),
        num_classes=1000,
    ),
)
