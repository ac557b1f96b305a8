"""YOLO (Redmon et al. 2015): a grid of cells, each with boxes, their confidences and class probabilities."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, Dropout, Flatten, Linear, MaxPool, Shape
from cnnbench.spec.layers.rectifier import LeakyReLU
from cnnbench.spec.layers.shape import Reshape, Transpose

BOXES, SLOPE = 2, 0.1
Layers = tuple[tuple[int, int, int] | None, ...]  # (kernel size, channels, stride), or None for a 2x2 pooling
# Figure 3, row by row.
LAYERS: Layers = (
    (7, 64, 2), None,
    (3, 192, 1), None,
    (1, 128, 1), (3, 256, 1), (1, 256, 1), (3, 512, 1), None,
    *((1, 256, 1), (3, 512, 1)) * 4, (1, 512, 1), (3, 1024, 1), None,
    *((1, 512, 1), (3, 1024, 1)) * 2, (3, 1024, 1), (3, 1024, 2),
    (3, 1024, 1), (3, 1024, 1),
)  # fmt: skip


TINY_LAYERS: Layers = (
    (3, 16, 1), None,
    (3, 32, 1), None,
    (3, 64, 1), None,
    (1, 64, 1), (3, 128, 1), (3, 128, 1),
)  # fmt: skip


class _Variant(NamedTuple):
    """Figure 3.

    Args:
        grid: S, cells along each side.
        hidden: Units of the first linear layer.
        dropout: Behind it.
        shared: Whether all cells have the same two linear layers, which read their own place alone: 1x1 convolutions.
    """

    name: str
    layers: Layers
    grid: int
    hidden: int
    dropout: float = 0.5
    shared: bool = False


def build_yolo_v1(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The 24 convolutions and two linear layers of figure 3, leaky ReLU of slope 0.1 and dropout of section 2.2.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: C of the classes.

    Shapes:
        image (N, C, H, W) -> cells (N, S, S, B 5 + C), S = 7 for 448x448, B = 2: for each cell x, y, w, h and
        confidence of each box, then the classes' probabilities.
    """
    b = Builder(variant.name)
    x = b.input("image", image)
    number, pools = 0, 0
    for row in variant.layers:
        if row is None:
            pools += 1
            x = b.add(f"pool{pools}", MaxPool(kernel_size=2), x)
            continue
        number += 1
        kernel, channels, stride = row
        conv = Conv(out_channels=channels, kernel_size=kernel, stride=stride, padding=kernel // 2)
        x = b.add(f"relu{number}", LeakyReLU(negative_slope=SLOPE), b.add(f"conv{number}", conv, x))
    depth = 5 * BOXES + num_classes
    relu, dropout = LeakyReLU(negative_slope=SLOPE), Dropout(p=variant.dropout)
    if variant.shared:
        x = b.add("fc1", Conv(out_channels=variant.hidden, kernel_size=1), x)
        x = b.add("dropout", dropout, b.add(f"relu{number + 1}", relu, x))
        x = b.add("fc2", Conv(out_channels=depth, kernel_size=1), x)
        return b.build({"cells": b.add("transpose", Transpose(permutation=(0, 2, 3, 1)), x)})
    x = b.add("fc1", Linear(out_features=variant.hidden), b.add("flatten", Flatten(), x))
    x = b.add("dropout", dropout, b.add(f"relu{number + 1}", relu, x))
    x = b.add("fc2", Linear(out_features=variant.grid**2 * depth), x)
    return b.build({"cells": b.add("reshape", Reshape(shape=(variant.grid, variant.grid, depth)), x)})


def _architecture(variant: _Variant, num_classes: int, facts: Facts) -> Architecture:
    return Architecture(
        name=variant.name,
        family="yolo",
        task="detection",
        year=2015,
        source="arXiv:1506.02640, figure 3 and section 2.2",
        build=partial(build_yolo_v1, variant),
        facts=facts,
        num_classes=num_classes,
    )


ARCHITECTURES = (
    _architecture(
        _Variant("yolo_v1", LAYERS, 7, 4096),
        20,
        Facts(parameters=271_703_550, macs=20_285_153_280, input=(3, 448, 448)),
    ),
    # Its two linear layers are shared by the cells: over the whole map they learn too little from 2,000 pictures.
    # Convolutions 448 + 4,640 + 18,496 + 4,160 + 73,856 + 147,584, then 129 128 and 129 13.
    _architecture(
        _Variant("yolo_v1_tiny", TINY_LAYERS, 8, 128, dropout=0.4, shared=True),
        3,
        Facts(parameters=267_373, macs=26_779_648, input=(3, 64, 64)),
    ),
)
