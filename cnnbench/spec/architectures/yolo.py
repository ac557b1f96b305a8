"""YOLO (Redmon et al. 2015): a grid of cells, each with boxes, their confidences and class probabilities."""

from __future__ import annotations

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, Dropout, Flatten, Linear, MaxPool, Shape
from cnnbench.spec.layers.rectifier import LeakyReLU
from cnnbench.spec.layers.shape import Reshape

GRID, BOXES, CLASSES = 7, 2, 20
SLOPE, HIDDEN = 0.1, 4096
# Figure 3, row by row: (kernel size, channels, stride), or None for a 2x2 pooling.
LAYERS: tuple[tuple[int, int, int] | None, ...] = (
    (7, 64, 2), None,
    (3, 192, 1), None,
    (1, 128, 1), (3, 256, 1), (1, 256, 1), (3, 512, 1), None,
    *((1, 256, 1), (3, 512, 1)) * 4, (1, 512, 1), (3, 1024, 1), None,
    *((1, 512, 1), (3, 1024, 1)) * 2, (3, 1024, 1), (3, 1024, 2),
    (3, 1024, 1), (3, 1024, 1),
)  # fmt: skip


def build_yolo_v1(image: Shape, num_classes: int) -> Graph:
    """The 24 convolutions and two linear layers of figure 3, leaky ReLU of slope 0.1 and dropout of section 2.2.

    Args:
        image: The shape of one image, (C, H, W).
        num_classes: C of the classes.

    Shapes:
        image (N, 3, 448, 448) -> cells (N, S, S, B 5 + C), S = 7, B = 2: for each cell x, y, w, h and confidence of
        each box, then the classes' probabilities.
    """
    b = Builder("yolo_v1")
    x = b.input("image", image)
    number, pools = 0, 0
    for row in LAYERS:
        if row is None:
            pools += 1
            x = b.add(f"pool{pools}", MaxPool(kernel_size=2), x)
            continue
        number += 1
        kernel, channels, stride = row
        conv = Conv(out_channels=channels, kernel_size=kernel, stride=stride, padding=kernel // 2)
        x = b.add(f"relu{number}", LeakyReLU(negative_slope=SLOPE), b.add(f"conv{number}", conv, x))
    x = b.add("fc1", Linear(out_features=HIDDEN), b.add("flatten", Flatten(), x))
    x = b.add("dropout", Dropout(p=0.5), b.add("relu25", LeakyReLU(negative_slope=SLOPE), x))
    depth = 5 * BOXES + num_classes
    x = b.add("fc2", Linear(out_features=GRID * GRID * depth), x)
    return b.build({"cells": b.add("reshape", Reshape(shape=(GRID, GRID, depth)), x)})


ARCHITECTURES = (
    Architecture(
        name="yolo_v1",
        family="yolo",
        task="detection",
        year=2015,
        source="arXiv:1506.02640, figure 3 and section 2.2",
        build=build_yolo_v1,
        facts=Facts(parameters=271_703_550, macs=20_285_153_280, input=(3, 448, 448)),
        num_classes=CLASSES,
    ),
)
