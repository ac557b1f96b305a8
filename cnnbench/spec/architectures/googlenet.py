"""GoogLeNet (Szegedy et al. 2014): inception modules, two auxiliary classifiers; as published and with batch norm."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import (
    AdaptiveAvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    ReLU,
    Shape,
)
from cnnbench.spec.layers.magnitude import LocalResponseNorm


class _Inception(NamedTuple):
    """A row of table 1: the widths of an inception module's branches, in the paper's column order."""

    name: str
    num_1x1: int
    num_3x3_reduce: int
    num_3x3: int
    num_5x5_reduce: int
    num_5x5: int
    pool_proj: int


TABLE_1 = (
    _Inception("3a", 64, 96, 128, 16, 32, 32),
    _Inception("3b", 128, 128, 192, 32, 96, 64),
    _Inception("4a", 192, 96, 208, 16, 48, 64),
    _Inception("4b", 160, 112, 224, 24, 64, 64),
    _Inception("4c", 128, 128, 256, 24, 64, 64),
    _Inception("4d", 112, 144, 288, 32, 64, 64),
    _Inception("4e", 256, 160, 320, 32, 128, 128),
    _Inception("5a", 256, 160, 320, 32, 128, 128),
    _Inception("5b", 384, 192, 384, 48, 128, 128),
)
AUXILIARY = {"4a": "aux1", "4d": "aux2"}  # the module after which each auxiliary classifier branches off


class _Variant(NamedTuple):
    """A registered network.

    Args:
        batch_norm: As torchvision: batch norm (eps 1e-3) for biases and LRN, 3x3 convolutions where the paper has
            5x5 (a slip in the port from TensorFlow that its checkpoints have kept), the last pooling 2x2.
    """

    name: str
    batch_norm: bool
    dropout: float
    aux_dropout: float
    parameters: int
    parameters_inference: int
    macs: int
    source: str


VARIANTS = (
    _Variant(
        "googlenet", False, 0.4, 0.7, 13_378_280, 6_998_552, 1_582_671_872, "arXiv:1409.4842, table 1 and section 5"
    ),
    # torchvision publishes 6,624,904 parameters without the auxiliary classifiers and 1.498 GMACs.
    _Variant(
        "googlenet_bn",
        True,
        0.2,
        0.7,
        13_004_888,
        6_624_904,
        1_498_376_192,
        "arXiv:1409.4842, with batch norm as torchvision's googlenet",
    ),
)


def build_googlenet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, its nodes named as torchvision's; pooling rounds up.

    Shapes:
        image (N, C, H, W) -> logits, aux1, aux2 (N, num_classes); the auxiliary outputs serve training.
    """
    b = Builder(variant.name)
    x = b.input("image", image)
    norm = variant.batch_norm
    response = LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=2.0, alpha_divided_by_size=False)
    conv1 = Conv(out_channels=64, kernel_size=7, stride=2, padding=3, bias=not norm)
    x = _activated(b, x, "conv1", conv1, norm)
    x = b.add("maxpool1", MaxPool(kernel_size=3, stride=2, ceil_mode=True), x)
    if not norm:
        x = b.add("norm1", response, x)
    x = _conv(b, x, "conv2", 64, 1, norm)
    x = _conv(b, x, "conv3", 192, 3, norm)
    if not norm:
        x = b.add("norm2", response, x)
    x = b.add("maxpool2", MaxPool(kernel_size=3, stride=2, ceil_mode=True), x)
    auxiliary = {}
    for row in TABLE_1:
        if row.name in ("4a", "5a"):
            last = norm and row.name == "5a"
            pool = MaxPool(kernel_size=2 if last else 3, stride=2, ceil_mode=True)
            x = b.add(f"maxpool{3 if row.name == '4a' else 4}", pool, x)
        x = inception(b, x, row, norm)
        if row.name in AUXILIARY:
            auxiliary[AUXILIARY[row.name]] = _auxiliary(b, x, AUXILIARY[row.name], variant, num_classes)
    x = b.add("avgpool", GlobalAvgPool(), x)
    x = b.add("dropout", Dropout(p=variant.dropout), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x), **auxiliary})


def inception(b: Builder, x: Value, row: _Inception, batch_norm: bool) -> Value:
    """Four branches side by side (figure 2b). Shapes: (N, C, H, W) -> (N, sum of the branches' widths, H, W).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        row: Of the table: the widths of the branches.
        batch_norm: As in the variant: torchvision's form of the block.
    """
    with b.scope(f"inception{row.name}"):
        one = _conv(b, x, "branch1", row.num_1x1, 1, batch_norm)
        three = _conv(b, x, "branch2.0", row.num_3x3_reduce, 1, batch_norm)
        three = _conv(b, three, "branch2.1", row.num_3x3, 3, batch_norm)
        five = _conv(b, x, "branch3.0", row.num_5x5_reduce, 1, batch_norm)
        five = _conv(b, five, "branch3.1", row.num_5x5, 3 if batch_norm else 5, batch_norm)
        pool = b.add("branch4.0", MaxPool(kernel_size=3, stride=1, padding=1), x)
        pool = _conv(b, pool, "branch4.1", row.pool_proj, 1, batch_norm)
        return b.add("concat", Concat(), one, three, five, pool)


def _auxiliary(b: Builder, x: Value, name: str, variant: _Variant, num_classes: int) -> Value:
    """Average pooling to 4x4, a 1x1 convolution, two linear layers (section 5)."""
    with b.scope(name):
        x = b.add("pool", AdaptiveAvgPool(output_size=4), x)
        x = _conv(b, x, "conv", 128, 1, variant.batch_norm)
        x = b.add("relu", ReLU(), b.add("fc1", Linear(out_features=1024), b.add("flatten", Flatten(), x)))
        x = b.add("dropout", Dropout(p=variant.aux_dropout), x)
        return b.add("fc2", Linear(out_features=num_classes), x)


def _conv(b: Builder, x: Value, name: str, channels: int, kernel_size: int, batch_norm: bool) -> Value:
    """A convolution that keeps the size."""
    conv = Conv(out_channels=channels, kernel_size=kernel_size, padding=kernel_size // 2, bias=not batch_norm)
    return _activated(b, x, name, conv, batch_norm)


def _activated(b: Builder, x: Value, name: str, conv: Conv, batch_norm: bool) -> Value:
    with b.scope(name):
        x = b.add("conv", conv, x)
        if batch_norm:
            x = b.add("bn", BatchNorm(eps=1e-3), x)
        return b.add("relu", ReLU(), x)


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="googlenet",
        year=2014,
        source=variant.source,
        build=partial(build_googlenet, variant),
        facts=Facts(
            parameters=variant.parameters,
            parameters_inference=variant.parameters_inference,
            macs=variant.macs,
            input=(3, 224, 224),
        ),
        num_classes=1000,
    )
    for variant in VARIANTS
)
