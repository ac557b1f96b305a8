"""Inception v3 (Szegedy et al. 2015): factorised convolutions, batch norm everywhere, one auxiliary classifier."""

from __future__ import annotations

from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalAvgPool,
    Linear,
    MaxPool,
    ReLU,
    Shape,
)


class Unit(NamedTuple):
    """A convolution with batch norm and ReLU: its name, width, kernel, stride and padding."""

    name: str
    width: int
    kernel_size: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)


def _square(name: str, width: int, size: int, *, stride: int = 1, same: bool = True) -> Unit:
    half = size // 2 if same and stride == 1 else 0
    return Unit(name, width, (size, size), stride, (half, half))


def _row(name: str, width: int, size: int = 7) -> Unit:
    return Unit(name, width, (1, size), 1, (0, size // 2))


def _column(name: str, width: int, size: int = 7) -> Unit:
    return Unit(name, width, (size, 1), 1, (size // 2, 0))


STEM_1 = (
    _square("Conv2d_1a_3x3", 32, 3, stride=2),
    _square("Conv2d_2a_3x3", 32, 3, same=False),
    _square("Conv2d_2b_3x3", 64, 3),
)
STEM_2 = (_square("Conv2d_3b_1x1", 80, 1), _square("Conv2d_4a_3x3", 192, 3, same=False))
MODULES_A = (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64))  # width of the pooled branch
MODULES_C = (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192))  # inner width of the 7x7


def build_inception_v3(image: Shape, num_classes: int) -> Graph:
    """Inception v3, its nodes named as torchvision's and the TensorFlow models'.

    Shapes:
        image (N, 3, 299, 299) -> logits, aux (N, num_classes); the auxiliary output serves training.
    """
    b = Builder("inception_v3")
    x = _units(b, b.input("image", image), STEM_1)
    x = b.add("maxpool1", MaxPool(kernel_size=3, stride=2), x)
    x = _units(b, x, STEM_2)
    x = b.add("maxpool2", MaxPool(kernel_size=3, stride=2), x)
    for name, pool_width in MODULES_A:
        x = module_a(b, x, name, pool_width)
    x = module_b(b, x, "Mixed_6a")
    for name, inner in MODULES_C:
        x = module_c(b, x, name, inner)
    auxiliary = _auxiliary(b, x, num_classes)
    x = module_d(b, x, "Mixed_7a")
    for name in ("Mixed_7b", "Mixed_7c"):
        x = module_e(b, x, name)
    x = b.add("avgpool", GlobalAvgPool(), x)
    x = b.add("dropout", Dropout(p=0.5), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x), "aux": auxiliary})


def module_a(b: Builder, x: Value, name: str, pool_width: int) -> Value:
    """Figure 5: the 5x5 of GoogLeNet as two 3x3. Shapes: (N, C, 35, 35) -> (N, 224 + pool_width, 35, 35).

    Args:
        b: Where the nodes go.
        x: (N, C, 35, 35).
        name: The scope of the module's nodes.
        pool_width: Channels of the pooled branch.
    """
    with b.scope(name):
        one = _units(b, x, (_square("branch1x1", 64, 1),))
        five = _units(b, x, (_square("branch5x5_1", 48, 1), _square("branch5x5_2", 64, 5)))
        double = _units(
            b,
            x,
            (
                _square("branch3x3dbl_1", 64, 1),
                _square("branch3x3dbl_2", 96, 3),
                _square("branch3x3dbl_3", 96, 3),
            ),
        )
        return b.add("concat", Concat(), one, five, double, _pooled(b, x, pool_width))


def module_b(b: Builder, x: Value, name: str) -> Value:
    """Figure 10: to a grid of half the size. Shapes: (N, C, 35, 35) -> (N, 480 + C, 17, 17).

    Args:
        b: Where the nodes go.
        x: (N, C, 35, 35).
        name: The scope of the module's nodes.
    """
    with b.scope(name):
        three = _units(b, x, (_square("branch3x3", 384, 3, stride=2),))
        double = _units(
            b,
            x,
            (
                _square("branch3x3dbl_1", 64, 1),
                _square("branch3x3dbl_2", 96, 3),
                _square("branch3x3dbl_3", 96, 3, stride=2),
            ),
        )
        pooled = b.add("branch_pool", MaxPool(kernel_size=3, stride=2), x)
        return b.add("concat", Concat(), three, double, pooled)


def module_c(b: Builder, x: Value, name: str, inner: int) -> Value:
    """Figure 6 with n = 7: 7x7 as 1x7 and 7x1. Shapes: (N, 768, 17, 17) -> the same.

    Args:
        b: Where the nodes go.
        x: (N, 768, 17, 17).
        name: The scope of the module's nodes.
        inner: Channels between the convolutions of a branch.
    """
    with b.scope(name):
        one = _units(b, x, (_square("branch1x1", 192, 1),))
        seven = _units(
            b, x, (_square("branch7x7_1", inner, 1), _row("branch7x7_2", inner), _column("branch7x7_3", 192))
        )
        double = _units(
            b,
            x,
            (
                _square("branch7x7dbl_1", inner, 1),
                _column("branch7x7dbl_2", inner),
                _row("branch7x7dbl_3", inner),
                _column("branch7x7dbl_4", inner),
                _row("branch7x7dbl_5", 192),
            ),
        )
        return b.add("concat", Concat(), one, seven, double, _pooled(b, x, 192))


def module_d(b: Builder, x: Value, name: str) -> Value:
    """To a grid of half the size. Shapes: (N, 768, 17, 17) -> (N, 1280, 8, 8).

    Args:
        b: Where the nodes go.
        x: (N, 768, 17, 17).
        name: The scope of the module's nodes.
    """
    with b.scope(name):
        three = _units(b, x, (_square("branch3x3_1", 192, 1), _square("branch3x3_2", 320, 3, stride=2)))
        seven = _units(
            b,
            x,
            (
                _square("branch7x7x3_1", 192, 1),
                _row("branch7x7x3_2", 192),
                _column("branch7x7x3_3", 192),
                _square("branch7x7x3_4", 192, 3, stride=2),
            ),
        )
        pooled = b.add("branch_pool", MaxPool(kernel_size=3, stride=2), x)
        return b.add("concat", Concat(), three, seven, pooled)


def module_e(b: Builder, x: Value, name: str) -> Value:
    """Figure 7: 3x3 spread out as 1x3 beside 3x1. Shapes: (N, C, 8, 8) -> (N, 2048, 8, 8).

    Args:
        b: Where the nodes go.
        x: (N, C, 8, 8).
        name: The scope of the module's nodes.
    """
    with b.scope(name):
        one = _units(b, x, (_square("branch1x1", 320, 1),))
        three = _units(b, x, (_square("branch3x3_1", 384, 1),))
        three = _spread(b, three, "branch3x3_2")
        double = _units(b, x, (_square("branch3x3dbl_1", 448, 1), _square("branch3x3dbl_2", 384, 3)))
        double = _spread(b, double, "branch3x3dbl_3")
        return b.add("concat", Concat(), one, three, double, _pooled(b, x, 192))


def _spread(b: Builder, x: Value, name: str) -> Value:
    row = _units(b, x, (_row(f"{name}a", 384, 3),))
    column = _units(b, x, (_column(f"{name}b", 384, 3),))
    return b.add(f"{name}_concat", Concat(), row, column)


def _pooled(b: Builder, x: Value, width: int) -> Value:
    pooled = b.add("pool", AvgPool(kernel_size=3, stride=1, padding=1), x)
    return _units(b, pooled, (_square("branch_pool", width, 1),))


def _auxiliary(b: Builder, x: Value, num_classes: int) -> Value:
    """Figure 8: average pooling, 1x1, a convolution over all that is left, a linear layer."""
    with b.scope("AuxLogits"):
        y = b.add("pool", AvgPool(kernel_size=5, stride=3), x)
        y = _units(b, y, (_square("conv0", 128, 1), _square("conv1", 768, 5, same=False)))
        y = b.add("avgpool", GlobalAvgPool(), y)
        return b.add("fc", Linear(out_features=num_classes), y)


def _units(b: Builder, x: Value, units: tuple[Unit, ...]) -> Value:
    for unit in units:
        with b.scope(unit.name):
            conv = Conv(
                out_channels=unit.width,
                kernel_size=unit.kernel_size,
                stride=unit.stride,
                padding=unit.padding,
                bias=False,
            )
            x = b.add("relu", ReLU(), b.add("bn", BatchNorm(eps=1e-3), b.add("conv", conv, x)))
    return x


ARCHITECTURES = (
    Architecture(
        name="inception_v3",
        family="inception_v3",
        year=2015,
        source="arXiv:1512.00567, table 1 and figures 5 to 10, with the widths of the TensorFlow release",
        build=build_inception_v3,
        facts=Facts(parameters=27_161_264, parameters_inference=23_834_568, macs=5_713_216_096, input=(3, 299, 299)),
        num_classes=1000,
    ),
)
